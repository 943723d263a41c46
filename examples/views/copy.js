/* global document, getSelection, navigator */
// Adds copying to buttons with data-copy, the id of the text. Without it, a click on the text selects all of it.
for (const button of document.querySelectorAll('button[data-copy]')) {
  const text = document.getElementById(button.dataset.copy)
  button.hidden = false
  button.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(text.textContent)
      button.textContent = 'Copied'
    } catch {
      // no permission, or no HTTPS: the text is selected, to be copied by hand
      getSelection().selectAllChildren(text)
      button.textContent = 'Selected'
    }
  })
}
