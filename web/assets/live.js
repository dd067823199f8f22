// Word from the server that something of the account has changed, in whichever window or by whomever.

/** Calls `changed` soon after something did, and whenever the line is up (again): until then nobody was listening. */
export function follow(changed) {
  const source = new EventSource("/api/v1/events");
  let waiting = 0;
  // Several changes in a row are one.
  const soon = () => {
    clearTimeout(waiting);
    waiting = setTimeout(changed, 200);
  };
  source.addEventListener("changed", soon);
  source.addEventListener("open", soon);
  source.addEventListener("error", () => {
    // The server wants no more of it: the session is over, most likely.
    if (source.readyState === EventSource.CLOSED) {
      soon();
    }
  });
  return () => {
    clearTimeout(waiting);
    source.close();
  };
}
