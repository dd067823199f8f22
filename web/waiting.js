
// The edge says how things stand. The page is made anew when that is no longer what it shows; once the desktop has
// approved, the edge leads on to the app.
const shown = document.querySelector("main").dataset.state;
const stand = new EventSource(location.href);
const again = () => { stand.close(); location.reload(); };
stand.onmessage = (event) => { if (event.data !== shown) again(); };
stand.onerror = () => { if (stand.readyState === EventSource.CLOSED) setTimeout(again, 3000); };
