"use strict";
// An edge node of Eclipse Tahu's JavaScript client: births, deaths, data by alias, commands.
const { settings, tell, listen } = require("./lines.js");
const { newClient } = require("sparkplug-client");

const client = newClient({
  serverUrl: settings.server, username: "", password: "", groupId: settings.group,
  edgeNode: settings.node, clientId: settings.client, version: "spBv1.0", keepalive: 5,
  publishDeath: true,
});
let depth = 8.0;
const now = () => Date.now();
function born() {
  client.publishNodeBirth({ timestamp: now(), metrics: [
    { name: "Node Control/Rebirth", type: "Boolean", value: false },
    { name: "Temperature", alias: 1, type: "Double", value: 20.5, timestamp: now(),
      properties: { engUnit: { type: "String", value: "degC" } } },
  ] });
  client.publishDeviceBirth("Press", { timestamp: now(), metrics: [
    { name: "Depth", alias: 2, type: "Double", value: depth, timestamp: now(),
      properties: { engUnit: { type: "String", value: "mm" } } },
    { name: "Count", alias: 3, type: "Int64", value: -5, timestamp: now() },
  ] });
  tell({ born: true });
}
client.on("birth", born);
client.on("ncmd", (payload) => {
  if (payload.metrics.some((m) => m.name === "Node Control/Rebirth" && m.value)) {
    tell({ rebirth: true });
    born();
  }
});
client.on("dcmd", (device, payload) => {
  for (const metric of payload.metrics) {
    const alias = metric.alias === undefined ? undefined : Number(metric.alias);
    tell({ command: device, name: metric.name || "", alias, value: metric.value });
    if (metric.value <= 12) depth = metric.value;
    client.publishDeviceData("Press", { timestamp: now(), metrics: [
      { alias: 2, type: "Double", value: depth, timestamp: now() } ] });
  }
});
client.on("connect", () => tell({ ready: true }));
listen((order) => {
  if (order.what === "data") {
    client.publishNodeData({ timestamp: order.time, metrics: [
      { alias: 1, type: "Double", value: order.value, timestamp: order.time } ] });
  } else if (order.what === "skip") {
    client.seq = (client.seq + 1) % 256;
  } else if (order.what === "leave") {
    client.publishDeviceDeath("Press", { timestamp: now() });
  } else if (order.what === "stop") {
    client.stop();
  }
  tell({ done: order.what });
}, () => client.stop());
