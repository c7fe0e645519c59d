// Reads along: a line's time starts the recording there, and the line that is spoken is lit.

const audio = document.querySelector("audio");
const lines = [...document.querySelectorAll(".transcript li")];

if (audio && lines.length) {
  for (const line of lines) {
    const time = line.querySelector(".at");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "at";
    button.textContent = time.textContent;
    button.addEventListener("click", () => {
      audio.currentTime = Number(line.dataset.start) / 1000;
      audio.play();
    });
    time.replaceWith(button);
  }
  let spoken = null;
  audio.addEventListener("timeupdate", () => {
    const now = audio.currentTime * 1000;
    const next = lines.find((line) => Number(line.dataset.start) <= now && now < Number(line.dataset.end)) ?? null;
    if (next === spoken) return;
    spoken?.classList.remove("spoken");
    next?.classList.add("spoken");
    spoken = next;
  });
}
