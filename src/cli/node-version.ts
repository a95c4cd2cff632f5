/** The oldest Node that has all that the package uses. */
export const NODE_AT_LEAST = '22.18.0'
