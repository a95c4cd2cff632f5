/** One row of the table: an option or a method, and how the two compare. */
export interface Row {
  name: string
  /** Why they differ; undefined: they do the same. */
  differs: string | undefined
}

const BEGIN = '<!-- drop-in: begin -->'
const END = '<!-- drop-in: end -->'

function table(kind: string, rows: readonly Row[]): string {
  const lines = rows
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, differs }) =>
      differs === undefined ? `| \`${name}\` | the same | |` : `| \`${name}\` | differs | ${differs} |`,
    )
  return [`| ${kind} | beside the SDK’s | why |`, '|---|---|---|', ...lines].join('\n')
}

/** The page with the table that these rows make. */
export function withTable(page: string, options: readonly Row[], methods: readonly Row[]): string {
  const [before = '', rest = ''] = page.split(BEGIN)
  const [, after = ''] = rest.split(END)
  const tables = `${table('option', options)}\n\n${table('method', methods)}`
  return `${before}${BEGIN}\n${tables}\n${END}${after}`
}
