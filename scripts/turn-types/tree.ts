import { execFileSync } from 'node:child_process'
import { mkdtempSync, realpathSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

const PROJECT = resolve(import.meta.dirname, '../..')
const git = (...words: string[]): string => execFileSync('git', words, { cwd: PROJECT, encoding: 'utf8' }).trim()

/** The sources of a commit in a folder of their own, or those of this tree. */
export class Tree implements Disposable {
  readonly root: string
  readonly name: string
  readonly #temporary: boolean

  private constructor(root: string, name: string, temporary: boolean) {
    this.root = root
    this.name = name
    this.#temporary = temporary
  }

  static here(): Tree {
    return new Tree(PROJECT, 'now', false)
  }

  /** Throws if the commit is not in this clone. Its packages are those that are installed here. */
  static at(ref: string): Tree {
    const name = git('rev-parse', '--short', '--verify', `${ref}^{commit}`)
    const tree = new Tree(realpathSync(mkdtempSync(join(tmpdir(), 'turn-types-'))), name, true)
    try {
      const archive = join(tree.root, 'tree.tar')
      git('archive', '--output', archive, name, 'src', 'package.json', 'tsconfig.json', 'tsconfig.build.json')
      execFileSync('tar', ['-xf', archive, '-C', tree.root])
      symlinkSync(join(PROJECT, 'node_modules'), join(tree.root, 'node_modules'))
      return tree
    } catch (error) {
      tree[Symbol.dispose]()
      throw error
    }
  }

  [Symbol.dispose](): void {
    if (this.#temporary) rmSync(this.root, { recursive: true, force: true })
  }
}
