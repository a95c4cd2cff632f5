import type { Pattern, Residency } from '../options/residency.ts'
import { adaptive } from './adaptive-policy.ts'
import { fixed } from './fixed-policy.ts'
import type { ResidencyPolicy } from './resident.ts'

const POLICIES: Record<Pattern, ResidencyPolicy> = {
  adaptive,
  ephemeral: fixed,
  hybrid: fixed,
  'long-running': fixed,
  single: fixed,
}

/** The policy of a pattern. */
export const policyOf = ({ pattern }: Residency): ResidencyPolicy => POLICIES[pattern]
