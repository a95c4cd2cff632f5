import { globSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

export const project: string = resolve(import.meta.dirname, '../../..')

/** A code block of a page. */
export interface Block {
  /** The page, relative to the project. */
  page: string
  line: number
  /** The word after the fence; empty if there is none. */
  language: string
  /** What follows the language: `file=src/store/log.ts`. */
  info: string
  text: string
}

/** A piece of a page that may name commands: inline code, outside of blocks. */
export interface Span {
  page: string
  line: number
  text: string
}

/** The pages of the project. What `npm run reference` writes has a test of its own. */
const pages: readonly string[] = globSync(['*.md', 'docs/**/*.md'], { cwd: project })
  .map((page) => page.replaceAll('\\', '/'))
  .filter((page) => !page.startsWith('docs/reference/'))
  .toSorted()

/** A block as messages name it. */
export const nameOf = ({ page, line }: Pick<Block, 'page' | 'line'>): string => `${page}:${line}`

export const blocks: readonly Block[] = pages.flatMap((page) => read(page).blocks)

export const spans: readonly Span[] = pages.flatMap((page) => read(page).spans)

function read(page: string): { blocks: Block[]; spans: Span[] } {
  const found: { blocks: Block[]; spans: Span[] } = { blocks: [], spans: [] }
  let open: (Block & { indent: string }) | undefined
  for (const [index, line] of readFileSync(join(project, page), 'utf8').split('\n').entries()) {
    const [, indent = '', language = '', info = ''] = /^(\s*)```(\S*)\s*(.*)$/.exec(line) ?? []
    if (!line.trimStart().startsWith('```')) {
      if (open !== undefined) open.text += `${line.startsWith(open.indent) ? line.slice(open.indent.length) : line}\n`
      else for (const [, text = ''] of line.matchAll(/`([^`]+)`/g)) found.spans.push({ page, line: index + 1, text })
    } else if (open === undefined) open = { page, line: index + 1, language, info, text: '', indent }
    else {
      const { indent: _, ...block } = open
      found.blocks.push(block)
      open = undefined
    }
  }
  if (open !== undefined) throw new Error(`${nameOf(open)}: the block has no end`)
  return found
}
