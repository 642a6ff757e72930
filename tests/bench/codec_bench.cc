// MB/s of the codec each way, on the golden objects (every field set) and on a pod and a deployment as they are in
// clusters. Bytes are those of the input; transcoding counts the JSON it makes.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "machinery/codec/codec.h"
#include "proto/schema_blob.h"

namespace {

using machinery::codec::DecodeJson;
using machinery::schema::Schema;
using machinery::schema::Type;
namespace codec = machinery::codec;
namespace value = machinery::value;

const Schema& TheSchema() {
  static const auto schema = Schema::FromDescriptors({proto::SchemaBlob()});
  return *schema;
}

// A pod as a controller makes it and a kubelet reports it: about 4 KB of JSON.
constexpr const char* kPod =
    R"({"kind":"Pod","apiVersion":"v1","metadata":{"name":"web-5d4f8c7b9d-x2x7q","generateName":
"web-5d4f8c7b9d-","namespace":"default","uid":"2f0c4ef5-5f0b-4b5b-9c55-0f8a3f1f6c11","resourceVersion":"184467","generation":1,
"creationTimestamp":"2026-05-01T10:00:00Z","labels":{"app":"web","pod-template-hash":"5d4f8c7b9d"},"annotations":
{"kubernetes.io/config.seen":"2026-05-01T10:00:00.123456789Z"},"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":
"web-5d4f8c7b9d","uid":"c5f2f9e1-0e70-4e1e-9d0e-6a3b6f2f9a10","controller":true,"blockOwnerDeletion":true}]},"spec":{"volumes":[{"name":
"kube-api-access-7xk2p","projected":{"sources":[{"serviceAccountToken":{"expirationSeconds":3607,"path":"token"}},{"configMap":{"name":
"kube-root-ca.crt","items":[{"key":"ca.crt","path":"ca.crt"}]}},{"downwardAPI":{"items":[{"path":"namespace","fieldRef":{"apiVersion":
"v1","fieldPath":"metadata.namespace"}}]}}],"defaultMode":420}}],"containers":[{"name":"web","image":"registry.example.com/team/web:1.25.3",
"command":["/bin/server","--listen=:8080","--log-level=info"],"ports":[{"name":"http","containerPort":8080,"protocol":"TCP"}],"env":[{"name":
"POD_NAME","valueFrom":{"fieldRef":{"apiVersion":"v1","fieldPath":"metadata.name"}}},{"name":"MODE","value":"production"}],"resources":
{"limits":{"cpu":"500m","memory":"512Mi"},"requests":{"cpu":"100m","memory":"128Mi"}},"volumeMounts":[{"name":"kube-api-access-7xk2p",
"readOnly":true,"mountPath":"/var/run/secrets/kubernetes.io/serviceaccount"}],"livenessProbe":{"httpGet":{"path":"/healthz","port":8080,
"scheme":"HTTP"},"timeoutSeconds":1,"periodSeconds":10,"successThreshold":1,"failureThreshold":3},"terminationMessagePath":
"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent"}],"restartPolicy":"Always",
"terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","serviceAccountName":"default","serviceAccount":"default","nodeName":
"worker-17.example.com","securityContext":{},"schedulerName":"default-scheduler","tolerations":[{"key":"node.kubernetes.io/not-ready",
"operator":"Exists","effect":"NoExecute","tolerationSeconds":300},{"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":
"NoExecute","tolerationSeconds":300}],"priority":0,"enableServiceLinks":true,"preemptionPolicy":"PreemptLowerPriority"},"status":
{"phase":"Running","conditions":[{"type":"Initialized","status":"True","lastTransitionTime":"2026-05-01T10:00:00Z"},
{"type":"Ready","status":"True","lastTransitionTime":"2026-05-01T10:00:03Z"},{"type":"ContainersReady","status":"True",
"lastTransitionTime":"2026-05-01T10:00:03Z"},{"type":"PodScheduled","status":"True","lastTransitionTime":"2026-05-01T10:00:00Z"}],
"hostIP":"10.0.0.17","podIP":"10.244.17.5","podIPs":[{"ip":"10.244.17.5"}],"startTime":"2026-05-01T10:00:00Z","containerStatuses":[{"name":
"web","state":{"running":{"startedAt":"2026-05-01T10:00:02Z"}},"lastState":{},"ready":true,"restartCount":0,"image":
"registry.example.com/team/web:1.25.3","imageID":"registry.example.com/team/web@sha256:6f1b8a4c6a1a5d7c2b","containerID":
"containerd://5b1d0b6bd7a5","started":true}],"qosClass":"Burstable"}})";

constexpr const char* kDeployment =
    R"({"kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":"web","namespace":"default","uid":
"2f0c4ef5-5f0b-4b5b-9c55-0f8a3f1f6c11","resourceVersion":"184467","generation":2,"creationTimestamp":"2026-05-01T10:00:00Z","labels":{"app":
"web"},"annotations":{"deployment.kubernetes.io/revision":"1"}},"spec":{"replicas":3,"selector":{"matchLabels":{"app":"web"}},"template":
{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"web","image":"nginx:1.25","ports":[{"containerPort":80,"protocol":"TCP"}],
"resources":{"requests":{"cpu":"100m","memory":"128Mi"}},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File",
"imagePullPolicy":"IfNotPresent"}],"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","securityContext":{},
"schedulerName":"default-scheduler"}},"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxUnavailable":"25%","maxSurge":"25%"}},
"revisionHistoryLimit":10,"progressDeadlineSeconds":600},"status":{"observedGeneration":2,"replicas":3,"updatedReplicas":3,"readyReplicas":3,
"availableReplicas":3,"conditions":[{"type":"Available","status":"True","lastUpdateTime":"2026-05-01T10:00:09Z","lastTransitionTime":
"2026-05-01T10:00:09Z","reason":"MinimumReplicasAvailable","message":"Deployment has minimum availability."}]}})";

struct Sample {
  const Type* type;
  std::string json, message, api_version, kind;
  value::Value tree;
};

std::string Golden(const std::string& name) {
  const char* shared = std::getenv("KEELSON_SHARED");
  std::ifstream in(std::string(shared ? shared : "../shared") + "/golden/kubernetes-api-v1.36/" + name + ".json");
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

Sample Make(std::string_view group, std::string_view version, std::string_view kind, const std::string& text) {
  Sample s;
  s.type = TheSchema().FindObject(group, version, kind);
  s.tree = DecodeJson(*s.type, text).value_or(value::Value());
  s.json = codec::EncodeJson(*s.type, s.tree, false, false);
  s.message = codec::EncodeProtobuf(*s.type, s.tree);
  s.api_version = s.tree.At("apiVersion").string_or();
  s.kind = kind;
  return s;
}

const Sample& At(int64_t i) {
  static const Sample samples[] = {Make("", "v1", "Pod", kPod), Make("apps", "v1", "Deployment", kDeployment),
                                   Make("", "v1", "Pod", Golden("core.v1.Pod")),
                                   Make("apps", "v1", "Deployment", Golden("apps.v1.Deployment"))};
  return samples[i];
}

template <class Work>
void Run(benchmark::State& state, size_t bytes, Work work) {
  static const char* const kNames[] = {"pod", "deployment", "golden pod", "golden deployment"};
  state.SetLabel(kNames[state.range(0)]);
  for (auto _ : state) work();
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * bytes));
}

void JsonToTree(benchmark::State& state) {
  const Sample& s = At(state.range(0));
  Run(state, s.json.size(), [&] { benchmark::DoNotOptimize(DecodeJson(*s.type, s.json)); });
}
void JsonToTreeStrict(benchmark::State& state) {
  const Sample& s = At(state.range(0));
  Run(state, s.json.size(), [&] {
    codec::DecodeReport report;
    benchmark::DoNotOptimize(DecodeJson(*s.type, s.json, {.report = &report}));
  });
}
void JsonToRawTree(benchmark::State& state) {
  const Sample& s = At(state.range(0));
  Run(state, s.json.size(), [&] { benchmark::DoNotOptimize(value::FromJson(s.json)); });
}
void TreeToJson(benchmark::State& state) {
  const Sample& s = At(state.range(0));
  Run(state, s.json.size(), [&] { benchmark::DoNotOptimize(codec::EncodeJson(*s.type, s.tree)); });
}
void ProtobufToTree(benchmark::State& state) {
  const Sample& s = At(state.range(0));
  Run(state, s.message.size(), [&] { benchmark::DoNotOptimize(codec::DecodeProtobuf(*s.type, s.message)); });
}
void TreeToProtobuf(benchmark::State& state) {
  const Sample& s = At(state.range(0));
  Run(state, s.message.size(), [&] { benchmark::DoNotOptimize(codec::EncodeProtobuf(*s.type, s.tree)); });
}
void ProtobufToJson(benchmark::State& state) {
  const Sample& s = At(state.range(0));
  std::string out;
  Run(state, s.json.size(), [&] {
    out.clear();
    benchmark::DoNotOptimize(codec::TranscodeToJson(*s.type, s.message, {s.api_version, s.kind, "184467"}, out));
  });
}
void SpliceResourceVersion(benchmark::State& state) {
  const Sample& s = At(state.range(0));
  Run(state, s.message.size(), [&] { benchmark::DoNotOptimize(codec::SpliceResourceVersion(s.message, "184467")); });
}

BENCHMARK(JsonToTree)->DenseRange(0, 3);
BENCHMARK(JsonToTreeStrict)->DenseRange(0, 0);
BENCHMARK(JsonToRawTree)->DenseRange(0, 0);
BENCHMARK(TreeToJson)->DenseRange(0, 3);
BENCHMARK(ProtobufToTree)->DenseRange(0, 3);
BENCHMARK(TreeToProtobuf)->DenseRange(0, 3);
BENCHMARK(ProtobufToJson)->DenseRange(0, 3);
BENCHMARK(SpliceResourceVersion)->DenseRange(0, 0);

}  // namespace
