/* global EventSource, location, addEventListener */
// Goes to the login page as soon as the session ends, by a logout elsewhere or by timeout.
const events = new EventSource('/sessions/events')
events.addEventListener('end', () => {
  events.close()
  location.assign('/login')
})
addEventListener('pagehide', () => { events.close() })
