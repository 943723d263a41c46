import { describe, expect, test } from '../expect.js'

interface Fixed { readonly a: string }
interface Optional { a?: string }
declare const anything: any

describe('an assertion about a type', () => {
  test('holds', () => {
    expect<Fixed['a']>().type.toBe<string>()
    expect('a' as const).type.not.toBe<string>()
    expect<Fixed>().type.toBeAssignableFrom({ a: 'b', more: 1 })
    expect<'a'>().type.toBeAssignableTo<string>()
    expect<Fixed>().type.toHaveProperty('a')
  })

  test('does not compile where it does not hold', () => {
    // @ts-expect-error
    expect('a' as const).type.toBe<string>()
    // @ts-expect-error
    expect(anything).type.toBe<string>()
    // @ts-expect-error
    expect<string>().type.toBe<any>()
    // @ts-expect-error
    expect<Fixed>().type.toBe<{ a: string }>()
    // @ts-expect-error
    expect<Fixed>().type.toBe<Optional>()
    // @ts-expect-error
    expect<string | null>().type.toBe<string>()
    // @ts-expect-error
    expect<string>().type.not.toBe<string>()
    // @ts-expect-error
    expect<Fixed>().type.toBeAssignableFrom({ a: 1 })
    // @ts-expect-error
    expect<Fixed>().type.not.toBeAssignableFrom({ a: 'b' })
    // @ts-expect-error
    expect<string>().type.toBeAssignableTo<'a'>()
    // @ts-expect-error
    expect<'a'>().type.not.toBeAssignableTo<string>()
    // @ts-expect-error
    expect<Fixed>().type.toHaveProperty('b')
    // @ts-expect-error
    expect<Fixed>().type.not.toHaveProperty('a')
  })
})
