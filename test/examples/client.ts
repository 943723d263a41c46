/** A response whose body has been read. */
export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: string
}

export interface Sent {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  /** Sent as an HTML form. */
  readonly form?: Readonly<Record<string, string>>
  readonly json?: unknown
}

/** A client that keeps cookies, as a browser does. */
export interface Client {
  send (path: string, sent?: Sent): Promise<Answer>
  /**
   * Returns another client with the current cookies: a stolen copy, or, with another address, the browser after a
   * restart.
   */
  copy (address?: string): Client
}

export function client (address: string, cookies: ReadonlyMap<string, string> = new Map()): Client {
  const jar = new Map(cookies)

  function keep (line: string): void {
    const [pair = ''] = line.split(';', 1)
    const [name = ''] = pair.split('=', 1)
    if (/Max-Age=0(?:;|$)/.test(line)) jar.delete(name)
    else jar.set(name, pair)
  }

  return {
    copy: (to = address) => client(to, jar),
    async send (path, { method, headers, form, json } = {}) {
      const body = form !== undefined
        ? new URLSearchParams(form)
        : json !== undefined ? JSON.stringify(json) : undefined
      const own = new Headers(headers)
      if (jar.size > 0) own.set('cookie', [...jar.values()].join('; '))
      if (json !== undefined) own.set('content-type', 'application/json')
      const response = await fetch(address + path, {
        method: method ?? (body === undefined ? 'GET' : 'POST'),
        headers: own,
        ...body === undefined ? {} : { body },
        redirect: 'manual'
      })
      for (const line of response.headers.getSetCookie()) keep(line)
      return { status: response.status, headers: response.headers, body: await response.text() }
    }
  }
}
