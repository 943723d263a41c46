import type { FastifyInstance } from 'fastify'
import type { ApiKeyCredential, ApiKeyFeature } from '../../../types/api-keys.js'
import type { Principal } from '../../../types/principal.js'
import type { Load, Scheme, SchemeContext } from '../../../types/scheme.js'
import { misconfigured } from '../../errors.js'
import { foreign, invalid } from '../../kit/outcome.js'
import { isThenable } from '../../util/answer.js'
import { digestOf, KeyFormat } from './key.js'
import { LastUsed } from './last-used.js'
import { KeyLookup, type KeyOutcome } from './lookup.js'
import { managedSettings } from './options.js'
import { Owners } from './owners.js'
import { kind } from './record.js'
import { KeyService } from './service.js'

/** What the scheme `apiKey` needs of managed keys. */
export interface Managed extends Pick<Scheme<Principal, ApiKeyCredential>, 'load' | 'ownerUnknown'> {
  readonly apiKeys: ApiKeyFeature
  /** Whose a key is. */
  outcomeOf (key: string): KeyOutcome | Promise<KeyOutcome>
}

/** Where managed keys are made: for one scheme of one application. */
export interface ManagedPlace {
  readonly app: FastifyInstance
  /** The scheme's name. */
  readonly name: string
  /** For sentences. */
  readonly place: string
  readonly context: SchemeContext
  /** The scheme's own; left out, the plugin's. */
  readonly load: Load | undefined
}

/** The managed keys of a scheme, wired. A mistake in the options stops the boot. */
export function managedKeys (options: unknown, { app, name, context, load = context.load ?? undefined }: ManagedPlace): Managed {
  const settings = managedSettings(options, `The option schemes.${name}.managed`)
  claimPrefix(app, settings.prefix, name)
  const { store, grants } = context
  const format = new KeyFormat(settings.prefix)
  const lastUsed = new LastUsed(store, app.log)
  const lookup = new KeyLookup({ ...settings, store, lastUsed, log: app.log })
  const owners = load === undefined ? null : new Owners({ app, scheme: name, load, grants, staleness: settings.staleness })
  const unsubscribe = store.subscribe?.(kind, change => { lookup.heard(change) })
  app.addHook('onClose', async () => {
    unsubscribe?.()
    lookup.close()
    await lastUsed.flush()
  })
  return {
    apiKeys: new KeyService({ format, store, lookup, owners, lastUsed, grants, log: app.log }),
    // load was asked for the owner: what it says of them must not widen the key
    load: null,
    ...owners === null ? { ownerUnknown: true } : {},
    outcomeOf (key) {
      const form = format.formOf(key)
      if (form === 'foreign') return foreign
      if (form !== 'ours') return invalid('the API key is mistyped or cut off')
      return wholeOutcome(lookup, owners, digestOf(key))
    }
  }
}

/** What a key comes to, its owner being known. */
function wholeOutcome (lookup: KeyLookup, owners: Owners | null, id: string): KeyOutcome | Promise<KeyOutcome> {
  const narrowed = (outcome: KeyOutcome): KeyOutcome | Promise<KeyOutcome> => outcome.kind === 'authenticated' && owners !== null
    ? owners.narrow(outcome, () => wholeOutcome(lookup, owners, id))
    : outcome
  const outcome = lookup.outcomeOf(id)
  return isThenable(outcome) ? outcome.then(narrowed) : narrowed(outcome)
}

/** Two schemes with one prefix would each take the other's keys for their own. */
const claimed = new WeakMap<FastifyInstance, Map<string, string>>()

function claimPrefix (app: FastifyInstance, prefix: string, scheme: string): void {
  const owners = claimed.get(app) ?? new Map<string, string>()
  const owner = owners.get(prefix)
  if (owner !== undefined) throw misconfigured(`schemes.${scheme}: apiKey has the managed.prefix '${prefix}', and so has schemes.${owner}; give one of them another.`)
  claimed.set(app, owners.set(prefix, scheme))
}
