// Buttons that copy a text, where the browser lets a page do that.

/** Makes `button` copy the text of `from`; without a clipboard the button is not shown. */
export function copies(button, from) {
  button.hidden = !(navigator.clipboard && navigator.clipboard.writeText);
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(from.textContent);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
}
