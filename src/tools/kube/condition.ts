/** What a controller says of an object, one of each type. */
export type Condition = {
  readonly type?: string
  readonly status?: string
  readonly reason?: string
  readonly message?: string
  readonly observedGeneration?: number
  readonly lastTransitionTime?: string
}

type Said = {readonly status?: {readonly conditions?: readonly Condition[]}}

export const conditionOf = ({status}: Said, type: string): Condition | undefined => status?.conditions?.find((some) => some.type === type)

export const isTrue = (object: Said, type: string): boolean => conditionOf(object, type)?.status === 'True'
