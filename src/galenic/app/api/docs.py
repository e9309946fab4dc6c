"""The page at /docs: the OpenAPI document made readable, without anything from other servers.

The pages that FastAPI offers load their scripts from the internet, which a plant does not have.
"""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>galenic: REST</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
 :root { color-scheme: light dark; --line: #8885; --accent: #1f6fb2; }
 body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
 h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
 details { border-bottom: 1px solid var(--line); padding: .4rem 0 }
 summary { cursor: pointer } code, pre, textarea, input { font-family: ui-monospace, monospace }
 .verb { display: inline-block; width: 3.6rem; font-weight: 600; color: var(--accent) }
 pre { overflow: auto; border: 1px solid var(--line); padding: .6rem; max-height: 24rem }
 textarea { width: 100%; min-height: 6rem; box-sizing: border-box } label { display: block }
 button { margin: .4rem 0; padding: .3rem .9rem }
</style></head><body>
<h1>galenic: REST</h1>
<p id="about"></p>
<p>The whole description is <a href="/openapi.json">/openapi.json</a> (OpenAPI). Sign in with
<code>POST /api/sign-in</code>; the answer's token goes into the header
<code>Authorization: Bearer ...</code>. Live values: WebSocket <code>/api/live?rate=3</code>.</p>
<main id="list">Loading...</main>
<script>
const put = (parent, tag, text) => {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  return parent.appendChild(made);
};
function example(schema) {
  const made = {};
  for (const [name, one] of Object.entries((schema && schema.properties) || {}))
    if ((schema.required || []).includes(name)) made[name] = one.description || one.type || '';
  return JSON.stringify(made, null, 1);
}
function operation(parent, path, verb, facts) {
  const box = put(parent, 'details'), head = put(box, 'summary');
  put(head, 'span', verb.toUpperCase()).className = 'verb';
  put(head, 'code', path); put(head, 'span', '  ' + (facts.summary || ''));
  put(box, 'p', facts.description);
  const inputs = {};
  for (const one of facts.parameters || []) {
    const label = put(box, 'label', `${one.name}${one.required ? ' (required)' : ''} `);
    inputs[one.name] = [one.in, put(label, 'input')];
  }
  const content = facts.requestBody && facts.requestBody.content['application/json'];
  if (content) { put(box, 'p', 'Body'); put(box, 'pre', JSON.stringify(content.schema, null, 1)); }
  const body = verb === 'post' && put(box, 'textarea');
  if (body) body.value = example(content && content.schema);
  const answer = put(box, 'pre'); answer.hidden = true;
  const go = box.insertBefore(document.createElement('button'), answer);
  go.textContent = verb === 'get' ? 'Get' : 'Post';
  go.onclick = async () => {
    let place = path; const query = new URLSearchParams();
    for (const [name, [where, input]] of Object.entries(inputs)) {
      if (where === 'path') place = place.replace(`{${name}}`, encodeURIComponent(input.value));
      else if (input.value) query.append(name, input.value);
    }
    const asked = await fetch(place + (query.size ? '?' + query : ''), {
      method: verb.toUpperCase(), body: body ? body.value : undefined,
      headers: body ? { 'Content-Type': 'application/json' } : {} });
    const text = await asked.text(); answer.hidden = false;
    try { answer.textContent = asked.status + ' ' + JSON.stringify(JSON.parse(text), null, 1); }
    catch { answer.textContent = asked.status + ' ' + text; }
  };
}
fetch('/openapi.json').then(answer => answer.json()).then(api => {
  const list = document.getElementById('list'); list.textContent = '';
  document.getElementById('about').textContent = `${api.info.description} ${api.info.version}`;
  const groups = {};
  for (const [path, verbs] of Object.entries(api.paths))
    for (const [verb, facts] of Object.entries(verbs))
      (groups[(facts.tags || ['other'])[0]] ||= []).push([path, verb, facts]);
  for (const [name, rows] of Object.entries(groups)) {
    const part = put(list, 'section'); put(part, 'h2', name);
    for (const row of rows) operation(part, ...row);
  }
});
</script></body></html>
"""


def router() -> APIRouter:
    """The endpoint of the page."""
    routes = APIRouter()

    @routes.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(PAGE)

    return routes
