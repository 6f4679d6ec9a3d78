// Greets from JavaScript.

addEventListener("fetch", (event) => {
  event.respondWith(new Response("Hello from JavaScript!\n", { headers: { "content-type": "text/plain; charset=utf-8" } }));
});
