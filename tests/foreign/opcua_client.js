"use strict";
// A node-opcua client that browses, subscribes, writes and reads history when it is told to.
const { settings, tell, listen } = require("./lines.js");
const opcua = require("node-opcua");
const {
  OPCUAClient, ClientSubscription, ClientMonitoredItem, AttributeIds, TimestampsToReturn, DataType,
  MessageSecurityMode, SecurityPolicy, ReadRawModifiedDetails, HistoryReadRequest,
} = opcua;

(async () => {
  const client = OPCUAClient.create({
    endpointMustExist: false, securityMode: MessageSecurityMode.None,
    securityPolicy: SecurityPolicy.None, keepSessionAlive: true, requestedSessionTimeout: 20000,
    connectionStrategy: { initialDelay: 100, maxDelay: 300, maxRetry: -1 },
  });
  client.on("after_reconnection", () => tell({ back: true }));
  client.on("connection_lost", () => tell({ lost: true }));
  await client.connect(settings.endpoint);
  const session = await client.createSession();
  const subscription = ClientSubscription.create(session, {
    requestedPublishingInterval: 50, requestedLifetimeCount: 1000, requestedMaxKeepAliveCount: 10,
    publishingEnabled: true, maxNotificationsPerPublish: 0, priority: 1,
  });
  const watch = (nodeId) => {
    const item = ClientMonitoredItem.create(
      subscription, { nodeId, attributeId: AttributeIds.Value },
      { samplingInterval: 0, queueSize: 100, discardOldest: true }, TimestampsToReturn.Both,
    );
    item.on("changed", (value) => tell({
      change: nodeId, value: value.value.value, status: value.statusCode.value,
      time: value.sourceTimestamp ? value.sourceTimestamp.getTime() : null,
    }));
  };
  tell({ ready: true });
  const orders = {
    async browse({ node }) {
      const found = await session.browse(node);
      tell({ browsed: node, names: found.references.map((r) => r.browseName.name) });
    },
    async unit({ node }) {
      const found = await session.browse({ nodeId: node, referenceTypeId: "HasProperty",
        browseDirection: 0, includeSubtypes: true, nodeClassMask: 0, resultMask: 63 });
      const unit = found.references.find((r) => r.browseName.name === "EngineeringUnits");
      const value = await session.read({ nodeId: unit.nodeId, attributeId: AttributeIds.Value });
      tell({ unit: node, name: value.value.value.displayName.text });
    },
    async watch({ node }) { watch(node); },
    async write({ node, value }) {
      const code = await session.write({ nodeId: node, attributeId: AttributeIds.Value,
        value: { value: { dataType: DataType.Double, value } } });
      tell({ wrote: value, status: code.value, name: code.name });
    },
    async history({ node, start, stop }) {
      const found = await session.readHistoryValue(node, new Date(start), new Date(stop));
      const data = found.historyData ? found.historyData.dataValues : [];
      tell({ history: node, status: found.statusCode.value,
        values: data.map((v) => [v.sourceTimestamp.getTime(), v.value.value]) });
    },
  };
  listen((order) => orders[order.what](order), async () => {
    await subscription.terminate().catch(() => 0);
    await session.close().catch(() => 0);
    await client.disconnect().catch(() => 0);
  });
})().catch((error) => { tell({ error: String(error) }); process.exit(1); });
