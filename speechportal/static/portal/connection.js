// Connection form: shows the parameters of the chosen storage kind, and offers its regions and endpoints.

const form = document.querySelector("[data-connection-form]");
const provider = form.elements.provider;
const region = form.elements.region;
const endpoint = form.elements.endpoint_url;
const all = {
  regions: [...document.querySelectorAll("#regions option")],
  endpoints: [...document.querySelectorAll("#endpoints option")],
};

function offer() {
  for (const part of form.querySelectorAll("[data-kinds]")) {
    part.hidden = !part.dataset.kinds.split(" ").includes(provider.value);
  }
  for (const [id, options] of Object.entries(all)) {
    const own = options.filter((option) => option.dataset.provider === provider.value);
    document.getElementById(id).replaceChildren(...own);
  }
}

function knownEndpoint() {
  return all.endpoints.some((option) => option.value === endpoint.value.trim());
}

provider.addEventListener("change", () => {
  if (knownEndpoint()) endpoint.value = "";
  offer();
});
region.addEventListener("change", () => {
  const site = all.endpoints.find(
    (option) => option.dataset.provider === provider.value && option.dataset.region === region.value.trim(),
  );
  if (site && (endpoint.value.trim() === "" || knownEndpoint())) endpoint.value = site.value;
});
offer();
