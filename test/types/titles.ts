/*
 * Titles of the assertions about types. `npm run types` checks the assertions, and nothing of these files runs. Above
 * what must not compile stands `@ts-expect-error`, with words of the error where they matter.
 */

/** Groups tests under a title. */
export declare function describe (title: string, body: () => void): void

/** Names what the assertions in its body show. */
export declare function test (title: string, body: () => void): void
