// Swagger UI, without the script in the page that its own template has.
const place = document.getElementById("swagger-ui");
window.SwaggerUIBundle({
  url: place.dataset.document,
  domNode: place,
  deepLinking: true,
  persistAuthorization: false,
  validatorUrl: null, // Nothing is sent to others.
});
