/**
 * What may import what: no cycles within a folder's runtime imports, devices/ free of hosts and of node:, and hosts that never import each
 * other. Run by `npm run check`; prints every violation and exits with 1 when there is one.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import ts from 'typescript';

/** Folders whose files are looked at, and what their files must not import: a folder, or a prefix of a package's name. */
const RULES = {
  'core-as': ['devices/', 'host-node/', 'host-browser/', 'tests/', 'node:'],
  devices: ['host-node/', 'host-browser/', 'tests/', 'node:'],
  'host-node': ['host-browser/', 'tests/'],
  'host-browser': ['host-node/', 'tests/', 'node:'],
};

/** Files of a folder that other rules hold for: pages and workers are built by Node. */
const EXEMPT = /\.d\.ts$|^host-browser\/(setup|build)\//;

function sources(folder) {
  const files = existsSync(folder) ? readdirSync(folder, { recursive: true, encoding: 'utf8' }) : [];
  return files.map((file) => join(folder, file)).filter((file) => /\.m?[tj]s$/.test(file) && !EXEMPT.test(file));
}

/** `{ target, typeOnly }` for each import of a file; target is a path of this repository or a package's name. */
function importsOf(file) {
  const source = ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.ES2022, false);
  const found = [];
  const visit = (node) => {
    const specifier =
      (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) && node.moduleSpecifier
        ? node.moduleSpecifier
        : ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword
          ? node.arguments[0]
          : undefined;
    if (specifier && ts.isStringLiteral(specifier)) {
      const clause = ts.isImportDeclaration(node) ? node.importClause : undefined;
      const named = clause?.namedBindings;
      const allTypes =
        named !== undefined &&
        ts.isNamedImports(named) &&
        !clause.name &&
        named.elements.length > 0 &&
        named.elements.every((element) => element.isTypeOnly);
      const typeOnly = node.isTypeOnly === true || clause?.isTypeOnly === true || allTypes;
      found.push({ target: resolve(file, specifier.text), typeOnly });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

function resolve(from, text) {
  if (!text.startsWith('.')) return text;
  const path = normalize(join(dirname(from), text));
  // AssemblyScript leaves the ending out.
  return existsSync(`${path}.ts`) ? `${path}.ts` : path;
}

const problems = [];
const graph = new Map();
for (const [folder, forbidden] of Object.entries(RULES)) {
  for (const file of sources(folder)) {
    const imports = importsOf(file);
    for (const { target } of imports) {
      const rule = forbidden.find((prefix) => target.startsWith(prefix));
      if (rule) problems.push(`${file} imports ${target}`);
    }
    graph.set(
      file,
      imports.filter(({ typeOnly }) => !typeOnly).map(({ target }) => target),
    );
  }
}

/** Tarjan's strongly connected components of more than one file. */
function cycles() {
  const state = new Map();
  const stack = [];
  const found = [];
  let next = 0;
  const connect = (file) => {
    const node = { index: next, low: next++, onStack: true };
    state.set(file, node);
    stack.push(file);
    for (const target of graph.get(file) ?? []) {
      if (!graph.has(target)) continue;
      const other = state.get(target);
      if (!other) node.low = Math.min(node.low, connect(target).low);
      else if (other.onStack) node.low = Math.min(node.low, other.index);
    }
    if (node.low === node.index) {
      const component = stack.splice(stack.indexOf(file));
      for (const member of component) state.get(member).onStack = false;
      if (component.length > 1) found.push(component.sort());
    }
    return node;
  };
  for (const file of graph.keys()) if (!state.has(file)) connect(file);
  return found;
}

for (const component of cycles()) problems.push(`import cycle: ${component.join(', ')}`);
for (const problem of problems) console.error(problem);
if (problems.length > 0) process.exit(1);
