/** One step of a guide, with the line that it is on. */
export type Step = { line: number } & (
  | { kind: 'ask'; request: Message; answer: Message; soon: boolean; before: number }
  | { kind: 'take'; name: string; from: string }
  | { kind: 'mail'; to: string; pattern: string }
  | { kind: 'task'; task: string; args: string[] }
)

/** A request or an answer as it is written: its first line, its headers and what follows the empty line. */
export interface Message {
  start: string
  headers: [name: string, value: string][]
  body: string
}

/**
 * Reads a guide: pairs of blocks ```http, a request and its answer; blocks ```sh of `npm run seam -- …`; and comments:
 *
 * - `<!-- take token = user.token, etag = header etag, sid = cookie sid -->`: from the answer above, for `{token}` below
 * - `<!-- soon -->`: the request below is sent again until the answer is the one shown
 * - `<!-- 20 times before -->`: the request below has been sent that often before
 * - `<!-- mail to ada@example.com: reset-password?token={resetToken} -->`: waits for that mail, and takes from it
 *
 * @throws {Error} when there is a block or a comment that would not be run
 */
export function readGuide(text: string): Step[] {
  const steps: Step[] = []
  const lines = text.split('\n')
  let request: Message | undefined
  let soon = false
  let before = 0
  for (let index = 0; index < lines.length; index++) {
    const line = index + 1
    const fault = (what: string) => new Error(`Line ${line}: ${what}`)
    const [, fence] = /^\s*```(.*)$/.exec(lines[index]!) ?? []
    const [, comment] = /^<!-- (.*) -->$/.exec(lines[index]!) ?? []
    if (fence !== undefined) {
      const end = lines.findIndex((line, at) => at > index && line.trim() === '```')
      if (end < 0) throw fault('the block has no end')
      const block = lines.slice(index + 1, end)
      index = end
      if (fence === 'sh') steps.push(...block.map((command) => ({ line, ...readTask(command, fault) })))
      else if (fence !== 'http') throw fault(`a block of "${fence}" is not run`)
      else if (!request) {
        if (block[0]!.startsWith('HTTP/')) throw fault('an answer to no request')
        request = readMessage(block)
      } else {
        if (!block[0]!.startsWith('HTTP/')) throw fault('the request above has no answer')
        steps.push({ line, kind: 'ask', request, answer: readMessage(block), soon, before })
        request = undefined
        soon = false
        before = 0
      }
    } else if (comment !== undefined) {
      const [, times] = /^(\d+) times before$/.exec(comment) ?? []
      const [, to, pattern] = /^mail to (\S+): (.+)$/.exec(comment) ?? []
      if (comment === 'soon') soon = true
      else if (times) before = Number(times)
      else if (to && pattern) steps.push({ line, kind: 'mail', to, pattern })
      else if (comment.startsWith('take '))
        for (const part of comment.slice(5).split(', ')) {
          const [, name, from] = /^(\w+) = ([\w.-]+|header [\w-]+|cookie \w+)$/.exec(part) ?? []
          if (!name || !from) throw fault(`"${part}" cannot be taken`)
          steps.push({ line, kind: 'take', name, from })
        }
      else throw fault(`"${comment}" is not understood`)
    } else if (/^\s*(```|~~~|<!--)/.test(lines[index]!)) throw fault('this would not be run')
  }
  if (request) throw new Error('The last request has no answer')
  return steps
}

function readTask(command: string, fault: (what: string) => Error) {
  const [, task, args] = /^npm run seam -- (\S+) (.*)$/.exec(command) ?? []
  if (!task) throw fault(`"${command}" is not run`)
  return { kind: 'task' as const, task, args: args!.split(' ') }
}

function readMessage([start = '', ...lines]: string[]): Message {
  const end = lines.includes('') ? lines.indexOf('') : lines.length
  return {
    start,
    headers: lines.slice(0, end).map((line) => {
      const [, name, value] = /^([\w-]+): (.*)$/.exec(line) ?? []
      if (!name) throw new Error(`"${line}" is no header`)
      return [name.toLowerCase(), value!]
    }),
    body: lines.slice(end + 1).join('\n'),
  }
}
