import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import {
  metrics, trace, type Attributes, type Meter, type MeterProvider, type ObservableCounter, type ObservableResult,
  type Span
} from '@opentelemetry/api'
import type { FastifyRequest } from 'fastify'
import type { GatehouseEventName, GatehouseEvents } from '../../types/events.js'
import { misconfigured } from '../errors.js'
import { publishedRequest } from '../events/events.js'
import { describeValue } from '../util/describe.js'
import { getOrCreate, isObject } from '../util/objects.js'
import { object, optional, type Parser } from '../util/options.js'

/** The options of {@link startTelemetry}. */
export interface TelemetryOptions {
  /** The provider of the meter. Default: the global one, which has to be set before. */
  readonly meterProvider?: MeterProvider
}

const parse = object({
  meterProvider: optional(parseProvider, null)
} satisfies Record<keyof TelemetryOptions, Parser<unknown>>)

function parseProvider (value: unknown, option: string): MeterProvider {
  if (isObject(value) && typeof value['getMeter'] === 'function') return value as unknown as MeterProvider
  throw misconfigured(`${option} must be a MeterProvider of OpenTelemetry. Got ${describeValue(value)}.`)
}

/** The fields that all events about a decision of the guard have. */
type DecisionEvent = Pick<GatehouseEvents['refused'], 'method' | 'route'> &
  Partial<Pick<GatehouseEvents['refused'], 'scheme' | 'code'>>

/** The events that are counted by `gatehouse.requests`, and those that are counted by `gatehouse.events`. */
const kinds: Readonly<Record<GatehouseEventName, 'request' | 'event'>> = {
  authenticated: 'request',
  refused: 'request',
  denied: 'request',
  throttled: 'request',
  unavailable: 'request',
  fault: 'request',
  login: 'event',
  logout: 'event',
  'key-created': 'event',
  'key-rotated': 'event',
  'key-revoked': 'event',
  'key-used-after-end': 'event',
  'store-down': 'event',
  'store-up': 'event',
  'token-issued': 'event',
  'token-refreshed': 'event',
  'token-reused': 'event',
  'token-revoked': 'event',
  'code-reused': 'event',
  'consent-given': 'event',
  'client-refused': 'event',
  'keys-fetched': 'event',
  'keys-failed': 'event'
}

/**
 * Counts the events of all applications in this process by OpenTelemetry, and writes the decision about a request on
 * the span that `@fastify/otel` made for it. Labels have few values: schemes, codes, route patterns, never an id.
 *
 * @example
 * const stop = startTelemetry()
 * app.addHook('onClose', async () => { stop() })
 * @returns a function that ends it.
 * @throws {AuthError} `AUTH_MISCONFIGURED` for a wrong option.
 */
export function startTelemetry (options: TelemetryOptions = {}): () => void {
  const { meterProvider } = parse(options, 'The options of startTelemetry')
  const { record, end } = createRecorder((meterProvider ?? metrics).getMeter('fastify-gatehouse'))
  const ends = (Object.keys(kinds) as GatehouseEventName[]).map(name => {
    const listener = (event: unknown): void => { record(name, event as GatehouseEvents[typeof name]) }
    const channel = `fastify-gatehouse:${name}`
    subscribe(channel, listener)
    return () => { unsubscribe(channel, listener) }
  })
  return () => { for (const each of [...ends, end]) each() }
}

interface Recorder {
  record (name: GatehouseEventName, event: GatehouseEvents[GatehouseEventName]): void
  end (): void
}

function createRecorder (meter: Meter): Recorder {
  const requests = createCounts(meter.createObservableCounter('gatehouse.requests', {
    description: 'Requests by the decision of the guard', unit: '{request}'
  }))
  const events = createCounts(meter.createObservableCounter('gatehouse.events', {
    description: 'What happened to sessions, keys, tokens, clients and the store', unit: '{event}'
  }))
  const outages = meter.createHistogram('gatehouse.store.outage.duration', {
    description: 'Time for which the store did not answer', unit: 's'
  })
  return {
    record (name, event) {
      if (kinds[name] === 'event') {
        const scheme = 'scheme' in event ? event.scheme : null
        events.add(`${name} ${scheme}`, () => labelsOf([['gatehouse.event', name], ['gatehouse.scheme', scheme]]))
        if (name === 'store-up') outages.record((event as GatehouseEvents['store-up']).downFor / 1000)
        return
      }
      const { method, route, scheme = null, code = null } = event as DecisionEvent
      const decision = [['gatehouse.outcome', name], ['gatehouse.scheme', scheme], ['gatehouse.code', code]] as const
      const span = spanOf(publishedRequest())
      for (const [label, value] of decision) if (value !== null) span?.setAttribute(label, value)
      requests.add(
        `${name} ${scheme} ${code} ${method} ${route}`,
        () => labelsOf([...decision, ['http.request.method', method], ['http.route', route]])
      )
    },
    end () {
      requests.end()
      events.end()
    }
  }
}

type Label = readonly [name: string, value: string | null]

function labelsOf (labels: readonly Label[]): Attributes {
  return Object.fromEntries(labels.filter(([, value]) => value !== null)) as Attributes
}

/**
 * Counts by labels, and reports when the metrics are collected. A counter of OpenTelemetry that is added to hashes its
 * labels each time, which takes two microseconds.
 */
function createCounts (counter: ObservableCounter) {
  const counts = new Map<string, { readonly labels: Attributes, count: number }>()
  const report = (result: ObservableResult): void => {
    for (const { labels, count } of counts.values()) result.observe(count, labels)
  }
  counter.addCallback(report)
  return {
    /** @param key one for each combination of labels. */
    add (key: string, labels: () => Attributes): void {
      getOrCreate(counts, key, () => ({ labels: labels(), count: 0 })).count++
    },
    end: () => { counter.removeCallback(report) }
  }
}

/** A request as `@fastify/otel` decorates it. */
interface Instrumented {
  opentelemetry? (): { readonly span: Span | null }
}

/** Returns the span of a request: the one of `@fastify/otel`, otherwise the active one. */
function spanOf (request: FastifyRequest | null): Span | undefined {
  return (request as Instrumented | null)?.opentelemetry?.().span ?? trace.getActiveSpan()
}
