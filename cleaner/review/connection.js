// Says why the page stays empty where a proxy keeps its web socket from the server.
(async () => {
  const PROTOCOL = "v1.kernel.websocket.jupyter.org";
  const address = new URL("cleaner/connection", document.baseURI);
  const socketAddress = new URL(address);
  socketAddress.protocol = address.protocol.replace("http", "ws");

  const opens = (...protocols) =>
    new Promise((resolve) => {
      const socket = new WebSocket(socketAddress, protocols);
      socket.onopen = () => resolve(true);
      socket.onerror = () => resolve(false);
    });
  const isServerReached = () =>
    fetch(address).then((response) => response.headers.has("X-Cleaner-Connection"), () => false);

  async function findProblem() {
    if (await opens(PROTOCOL)) return "";
    if (await opens()) {
      return (
        "your proxy removes a header that the review needs: ask its administrator to pass the header " +
        "Sec-WebSocket-Protocol, in requests and in answers."
      );
    }
    // Whether the server is there at all is for the review itself to say.
    if (!(await isServerReached())) return "";
    return (
      "your proxy does not pass web sockets: ask its administrator to pass the headers Upgrade, Connection, Host " +
      "and Sec-WebSocket-Protocol."
    );
  }

  function show(problem) {
    const alert = document.createElement("div");
    alert.className = "cleaner-connection";
    alert.setAttribute("role", "alert");
    alert.style.cssText =
      "position: fixed; inset: 0 0 auto; z-index: 1000; margin: 16px auto; max-width: 640px; padding: 12px 16px; " +
      "font: 15px/1.5 system-ui, sans-serif; color: var(--jp-ui-font-color1, #212121); " +
      "background: var(--jp-layout-color1, #fff); border: 1px solid #c62828; border-left-width: 6px; " +
      "border-radius: 4px; box-shadow: 0 3px 10px rgb(0 0 0 / 30%)";
    alert.textContent = `The review cannot be shown: ${problem} Then reload this page. Every decision is saved.`;
    document.getElementById("rendered_cells")?.style.setProperty("visibility", "hidden"); // "Loading widget..."
    document.body.append(alert);
  }

  const problem = await findProblem();
  if (problem === "") return;
  if (document.readyState === "loading") {
    await new Promise((resolve) => document.addEventListener("DOMContentLoaded", resolve, { once: true }));
  }
  show(problem);
})();
