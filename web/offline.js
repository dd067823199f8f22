
// The desktop is asked for until it is there again. Only then the page changes: nobody loses their place, nor hears it
// read out anew, every few seconds. A form's answer reloads too, and the browser asks before it sends the form again.
const again = async () => {
  const answer = await fetch(location.href, { method: "HEAD", cache: "no-store", redirect: "manual" }).catch(() => null);
  if (answer && answer.status !== 503) location.reload();
  else setTimeout(again, 3000);
};
setTimeout(again, 3000);
