const decimal = ['n', 'u', 'm', '', 'k', 'M', 'G', 'T', 'P', 'E']
const binary = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei']

/** What Kubernetes measures in, as a number: `500m`, `1Gi`, `1e3`, `0.5`. */
export const quantity = (text: string): number | undefined => {
  const [, digits, exponent, suffix = ''] = /^([+-]?(?:\d+\.?\d*|\.\d+))(?:[eE]([+-]?\d+)|([numkMGTPE]|[KMGTPE]i)?)$/.exec(text) ?? []
  if (digits === undefined) return undefined
  if (exponent !== undefined) return Number(`${digits}e${exponent}`)
  return Number(digits) * (suffix.endsWith('i') ? 1024 ** binary.indexOf(suffix) : 1000 ** (decimal.indexOf(suffix) - 3))
}
