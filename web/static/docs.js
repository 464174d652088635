"use strict";
const viewer = document.getElementById("viewer");
SwaggerUIBundle({ url: viewer.dataset.document, dom_id: "#viewer", deepLinking: true, validatorUrl: null });
