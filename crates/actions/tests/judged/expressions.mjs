// Evaluates expressions by GitHub's own package: cases in, answers out, both JSON files named on the command line.
import { readFileSync, writeFileSync } from "node:fs";
import { Evaluator, Lexer, Parser } from "@actions/expressions";
import { reviver } from "./node_modules/@actions/expressions/dist/data/reviver.js";
import { replacer } from "./node_modules/@actions/expressions/dist/data/replacer.js";

function answer({ expression, contexts }) {
  let stage = "lexing";
  try {
    const { tokens } = new Lexer(expression).lex();
    stage = "parsing";
    const tree = new Parser(tokens, Object.keys(contexts), []).parse();
    stage = "evaluation";
    const value = new Evaluator(tree, JSON.parse(JSON.stringify(contexts), reviver)).evaluate();
    return { value: JSON.parse(JSON.stringify(value, replacer) ?? "null"), text: value.primitive ? value.coerceString() : null };
  } catch (error) {
    return { stage, message: error.message };
  }
}

const [cases, answers] = process.argv.slice(2);
writeFileSync(answers, JSON.stringify(JSON.parse(readFileSync(cases)).map(answer)));
