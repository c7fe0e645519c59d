// Starts Swagger UI, without the inline script of its own template.
const place = document.getElementById("swagger-ui");
window.SwaggerUIBundle({
  url: place.dataset.document,
  domNode: place,
  deepLinking: true,
  persistAuthorization: false,
  validatorUrl: null, // Nothing is sent to others.
});
