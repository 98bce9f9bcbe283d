import ts from 'typescript'

/** A place in the sources at which something that came from outside is rejected. */
export interface RejectionSite {
  /** What stands there, in a few words. */
  readonly text: string
  /** Where it stands, in the text that was read. */
  readonly offset: number
  /** Of its first character, from 1. */
  readonly line: number
}

/**
 * The names of the functions that make a rejection: those that say that they return one. A new one is found by that.
 */
export function rejectionMakers(source: string): readonly string[] {
  const names: string[] = []
  const visit = (node: ts.Node): void => {
    const isFunction = ts.isFunctionDeclaration(node) || ts.isMethodDeclaration(node)
    if (isFunction && node.name !== undefined && node.type !== undefined) {
      if (rejectionTypes.has(node.type.getText())) names.push(node.name.getText())
    }
    ts.forEachChild(node, visit)
  }
  visit(parsed(source))
  return names
}

/**
 * Every place in a source, in their order, at which a rejection is made: a call of one of the makers, a finding in a
 * text, and a reason why a value cannot be kept.
 *
 * Works on the sources, and on what the compiler makes of them, which has the same places in the same order.
 */
export function rejectionSites(source: string, makers: ReadonlySet<string>): readonly RejectionSite[] {
  const file = parsed(source)
  const sites: RejectionSite[] = []
  const add = (node: ts.Node): void => {
    const offset = node.getStart(file)
    const line = file.getLineAndCharacterOfPosition(offset).line + 1
    sites.push({ text: node.getText(file).replaceAll(/\s+/g, ' ').slice(0, 100), offset, line })
  }
  const visit = (node: ts.Node, isReason: boolean): void => {
    if (ts.isCallExpression(node) && makers.has(calledBy(node))) add(node)
    if (ts.isObjectLiteralExpression(node) && isFinding(node)) add(node)
    if (isReason && ts.isStringLiteralLike(node) && isAnswer(node)) add(node)
    if (isReason && ts.isTemplateExpression(node) && isAnswer(node)) add(node)
    const isFault = ts.isFunctionDeclaration(node) && node.name?.text.startsWith('faultOf') === true
    ts.forEachChild(node, (child) => visit(child, isReason || isFault))
  }
  visit(file, false)
  return sites
}

/** The types of what goes back to whoever sent something that cannot be served. */
const rejectionTypes: ReadonlySet<string> = new Set(['ProtocolError', 'Error', 'RpcInvalid', 'TextFinding'])

function parsed(source: string): ts.SourceFile {
  return ts.createSourceFile('source.ts', source, ts.ScriptTarget.ES2023, true, ts.ScriptKind.TS)
}

function calledBy(call: ts.CallExpression): string {
  const called = call.expression
  if (ts.isIdentifier(called)) return called.text
  return ts.isPropertyAccessExpression(called) ? called.name.text : ''
}

/** What the scanner of a text returns: a rule, and where it is broken. */
function isFinding(node: ts.ObjectLiteralExpression): boolean {
  const [first] = node.properties
  return first !== undefined && ts.isPropertyAssignment(first) && first.name.getText() === 'rule'
}

/** Whether a text is what is returned, and not what something is compared with. */
function isAnswer(node: ts.Node): boolean {
  const { parent } = node
  if (ts.isReturnStatement(parent)) return true
  return ts.isConditionalExpression(parent) && parent.condition !== node
}
