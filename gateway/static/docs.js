// Starts Swagger UI: a file of its own, because the Content-Security-Policy forbids inline scripts.
SwaggerUIBundle({
  url: new URL("openapi.json", document.baseURI).href,
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null, // the default would send the description to a public service
});
