// Redoc shows its maker's logo from its maker's server, which the Content-Security-Policy refuses, each time
// with an error. Nothing on this page comes from others: such pictures are not even asked for.
const ownAddress = (value) => value.startsWith("data:") || new URL(value, location.href).origin === location.origin;

const { setAttribute } = Element.prototype;
HTMLImageElement.prototype.setAttribute = function (name, value) {
  if (name === "src") this.src = value;
  else setAttribute.call(this, name, value);
};

const source = Object.getOwnPropertyDescriptor(HTMLImageElement.prototype, "src");
Object.defineProperty(HTMLImageElement.prototype, "src", {
  ...source,
  set(value) {
    this.hidden = !ownAddress(String(value));
    if (!this.hidden) source.set.call(this, value);
  },
});

// It writes its style sheets at run time: those may be, since they carry the nonce of the policy.
const { nonce } = document.currentScript.dataset;
const { createElement } = Document.prototype;
Document.prototype.createElement = function (name, ...options) {
  const made = createElement.call(this, name, ...options);
  if (made instanceof HTMLStyleElement) made.nonce = nonce;
  return made;
};
