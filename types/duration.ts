/** A duration: a number of seconds, or a number with a unit (`'30s'`, `'15m'`, `'12h'`, `'7d'`). */
export type Duration = number | `${number}${'s' | 'm' | 'h' | 'd'}`
