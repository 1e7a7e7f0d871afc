// Reads documents as a JSON array from stdin; prints, for each, what @asyncapi/parser has to say of it.
const { Parser } = require(`${process.argv[2]}/parser`);

async function main() {
  let text = "";
  for await (const part of process.stdin) text += part;
  const parser = new Parser();
  const said = [];
  for (const document of JSON.parse(text)) {
    const { document: parsed, diagnostics } = await parser.parse(document);
    const problems = diagnostics.map((each) => `${each.severity} ${each.code} ${each.path.join("/")}: ${each.message}`);
    said.push(parsed === undefined ? ["not parsed", ...problems] : problems);
  }
  console.log(JSON.stringify(said));
}

main();
