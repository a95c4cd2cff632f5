import { ConfigError } from '../errors.ts'
import { count, readSection } from './section.ts'

/** How many started processes wait for new conversations, for each agent and tenant. Demand moves it between the two. */
export interface SpareOptions {
  /** Always kept, for the default tenant and for tenants that are active. Default 0. */
  min?: number
  /** Never more. Default 2. */
  max?: number
}

/** `spares`, resolved. */
export interface SpareBounds {
  min: number
  max: number
}

export function readSpares(path: string, input: SpareOptions | undefined): SpareBounds {
  const bounds = readSection<SpareBounds>(path, { min: count('min', 0, 0), max: count('max', undefined, 0) }, input)
  const max = bounds.max ?? Math.max(2, bounds.min)
  if (max < bounds.min) throw new ConfigError(`${path}.max`, `${max} is less than min (${bounds.min})`)
  return { min: bounds.min, max }
}
