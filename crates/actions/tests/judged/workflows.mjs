// Reads workflow files by GitHub's own package: texts in, findings out, both JSON files named on the command line.
import { readFileSync, writeFileSync } from "node:fs";
import { register } from "node:module";

// The package imports its schema without saying that it is JSON, which bundlers know and Node does not.
const load = `import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
export async function load(url, context, next) {
  if (!url.endsWith(".json")) return next(url, context);
  return { format: "module", shortCircuit: true, source: "export default " + readFileSync(fileURLToPath(url)) };
}`;
register("data:text/javascript," + encodeURIComponent(load));
const { NoOperationTraceWriter, convertWorkflowTemplate, parseWorkflow } = await import("@actions/workflow-parser");
const { FeatureFlags } = await import("@actions/expressions/features");
const inside = "./node_modules/@actions/workflow-parser/dist/";
const { TemplateContext, TemplateValidationErrors } = await import(inside + "templates/template-context.js");
const { getWorkflowSchema } = await import(inside + "workflows/workflow-schema.js");

async function findings(content) {
  const context = new TemplateContext(new TemplateValidationErrors(), getWorkflowSchema(), new NoOperationTraceWriter());
  context.state.featureFlags = new FeatureFlags({ all: true });
  const { value } = parseWorkflow({ name: "w", content }, context);
  const errors = () => context.errors.getErrors().map((error) => ({ line: error.range?.start.line ?? 0, message: error.rawMessage ?? error.message }));
  if (value && errors().length === 0) {
    await convertWorkflowTemplate(context, value, undefined, { featureFlags: new FeatureFlags({ all: true }) });
  }
  return errors();
}

const [cases, answers] = process.argv.slice(2);
const out = [];
for (const text of JSON.parse(readFileSync(cases))) {
  out.push(await findings(text));
}
writeFileSync(answers, JSON.stringify(out));
