/* global EventSource, location, addEventListener */
// Leaves the page as soon as its session is over: ended elsewhere, or by time.
const events = new EventSource('/sessions/events')
events.addEventListener('end', () => {
  events.close()
  location.assign('/login')
})
addEventListener('pagehide', () => { events.close() })
