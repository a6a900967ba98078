/** Texts for the clipboard. */

export async function writeClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // No permission, or a page that was not loaded over https.
    const area = document.createElement("textarea");
    area.style.position = "fixed";
    area.value = text;
    const focused = document.activeElement;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    focused?.focus({ preventScroll: true });
  }
}

/** Copy, and say so on the button for a moment. */
export async function copyFor(button, text) {
  await writeClipboard(text);
  button.textContent = "Copied";
  setTimeout(() => {
    button.textContent = "Copy";
  }, 1500);
}
