"use strict";
// Orders and news as lines of JSON on standard input and output.
const readline = require("readline");
const settings = JSON.parse(process.argv[2] || "{}");
const tell = (news) => process.stdout.write(JSON.stringify(news) + "\n");
function listen(obey, end) {
  const lines = readline.createInterface({ input: process.stdin });
  lines.on("line", (line) => {
    Promise.resolve(obey(JSON.parse(line))).catch((error) => tell({ error: String(error) }));
  });
  lines.on("close", async () => {
    try { await end(); } finally { process.exit(0); }
  });
}
module.exports = { settings, tell, listen };
