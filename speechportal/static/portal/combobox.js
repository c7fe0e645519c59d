// Combobox: a <select> that can be searched by typing (ARIA "combobox with list autocomplete"). The select
// remains the submitted field. Where it may stay empty, its empty option is a choice like the others.

function enhance(wrapper) {
  const select = wrapper.querySelector("select");
  if (!select) return;
  const isOptional = !select.required;
  const options = [...select.options].filter((option) => option.value || isOptional);
  const box = document.createElement("div");
  box.className = "combobox";
  const input = document.createElement("input");
  const list = document.createElement("ul");
  list.id = `${select.id}_list`;
  list.role = "listbox";
  list.hidden = true;
  input.type = "text";
  input.role = "combobox";
  input.autocomplete = "off";
  input.placeholder = wrapper.dataset.placeholder;
  input.setAttribute("aria-autocomplete", "list");
  input.setAttribute("aria-controls", list.id);
  input.setAttribute("aria-expanded", "false");
  for (const name of ["aria-describedby", "aria-invalid"]) {
    if (select.hasAttribute(name)) input.setAttribute(name, select.getAttribute(name));
  }
  const label = wrapper.querySelector(`label[for="${select.id}"]`);
  input.id = `${select.id}_search`;
  if (label) {
    label.htmlFor = input.id;
    list.setAttribute("aria-label", label.textContent.trim());
  }
  input.required = select.required;
  select.required = false;
  select.hidden = true;
  select.after(box);
  box.append(input, list);

  let shown = [];
  let active = -1;
  const textOf = (option) => option.textContent.trim();
  const chosenText = () => {
    const [option] = select.selectedOptions;
    return option && options.includes(option) ? textOf(option) : "";
  };

  function mark(index) {
    active = index;
    for (const [number, item] of [...list.children].entries()) {
      item.setAttribute("aria-selected", String(number === index));
    }
    const item = list.children[index];
    if (item && shown.length) {
      input.setAttribute("aria-activedescendant", item.id);
      item.scrollIntoView({ block: "nearest" });
    } else {
      input.removeAttribute("aria-activedescendant");
    }
  }

  function open(words) {
    const wanted = words
      .trim()
      .toLowerCase()
      .split(/[\s/]+/)
      .filter(Boolean);
    shown = options.filter((option) => wanted.every((word) => textOf(option).toLowerCase().includes(word)));
    list.replaceChildren(
      ...shown.map((option, number) => {
        const item = document.createElement("li");
        item.role = "option";
        item.id = `${list.id}_${number}`;
        item.textContent = textOf(option);
        item.addEventListener("pointerdown", (event) => {
          event.preventDefault();
          choose(option);
        });
        return item;
      }),
    );
    if (!shown.length) {
      const nothing = document.createElement("li");
      nothing.className = "none";
      nothing.role = "option";
      nothing.setAttribute("aria-disabled", "true");
      nothing.textContent = wrapper.dataset.nothing;
      list.append(nothing);
    }
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    mark(shown.findIndex((option) => option.selected));
  }

  function close() {
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function choose(option) {
    select.value = option.value;
    select.dispatchEvent(new Event("change", { bubbles: true }));
    input.value = textOf(option);
    close();
  }

  input.addEventListener("focus", () => input.select());
  input.addEventListener("click", () => list.hidden && open(""));
  input.addEventListener("input", () => {
    if (!isOptional) select.value = "";
    open(input.value);
    if (shown.length) mark(0);
  });
  input.addEventListener("blur", () => {
    close();
    input.value = chosenText();
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (list.hidden) open("");
      else if (shown.length) {
        const step = event.key === "ArrowDown" ? 1 : -1;
        mark((active + step + shown.length) % shown.length);
      }
    } else if (event.key === "Enter" && !list.hidden) {
      event.preventDefault();
      if (shown[active]) choose(shown[active]);
    } else if (event.key === "Escape" && !list.hidden) {
      event.stopPropagation();
      close();
      input.value = chosenText();
    }
  });
  input.value = chosenText();
}

for (const wrapper of document.querySelectorAll("[data-combobox]")) enhance(wrapper);
