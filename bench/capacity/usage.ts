import { readFileSync } from 'node:fs'

/** Linux counts processor time for others in hundredths of a second, whatever its kernel does. */
const TICK = 10_000

/** The processor time that a process and its children, ended ones too, have taken so far, in microseconds. */
export function cpuOf(pid: number): number {
  const ofChildren = childrenOf(pid).map(cpuOf)
  const [utime = 0, stime = 0, cutime = 0, cstime = 0] = statOf(pid).slice(11, 15).map(Number)
  return ofChildren.reduce((sum, one) => sum + one, (utime + stime + cutime + cstime) * TICK)
}

/** Resident memory in MB; of a process with children, which share some, what all of them have together. */
export function memoryOf(pid: number): number {
  const children = childrenOf(pid)
  if (children.length === 0) return megabytes(pid, 'Rss')
  return [pid, ...children].reduce((sum, one) => sum + megabytes(one, 'Pss'), 0)
}

export const parentOf = (pid: number): number => Number(statOf(pid)[1])

/** What follows the name of the program, which may have blanks and brackets itself. */
function statOf(pid: number): string[] {
  const stat = read(pid, 'stat')
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')
}

const childrenOf = (pid: number): number[] => (read(pid, `task/${pid}/children`).match(/\d+/g) ?? []).map(Number)

const megabytes = (pid: number, kind: 'Rss' | 'Pss'): number =>
  Number(new RegExp(`^${kind}: +(\\d+)`, 'm').exec(read(pid, 'smaps_rollup'))?.[1] ?? 0) / 1024

/** Empty for a process that has just ended: what it took is its parent's then. */
function read(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8')
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code!)) return ''
    throw error
  }
}
