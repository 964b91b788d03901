// Reads a JSON array of Kubernetes objects of custom kinds from stdin; prints one line for each that its CRD's schema refuses.
// Ends 1 where there is one, and where a kind is not known here.
import { readFileSync } from "node:fs";
import { HTTPRoute } from "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1/HTTPRoute";
import { ScaledObject } from "@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject";
import { PodMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PodMonitor";
import { PrometheusRule } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule";

const kinds = { HTTPRoute, PodMonitor, PrometheusRule, ScaledObject };
for (const object of JSON.parse(readFileSync(0, "utf8"))) {
  const name = `${object.kind} ${object.metadata.name}`;
  try {
    const Kind = kinds[object.kind];
    if (!Kind) throw new Error("no schema for this kind");
    const { apiVersion } = new Kind({ metadata: object.metadata, spec: object.spec });
    if (apiVersion !== object.apiVersion) throw new Error(`apiVersion is ${apiVersion}, not ${object.apiVersion}`);
    new Kind(object).validate();
  } catch (error) {
    console.log(`${name}: ${error.message}`);
    process.exitCode = 1;
  }
}
