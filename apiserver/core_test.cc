// The whole server in-process over memory: what a client of the transport sees.
#include <gtest/gtest.h>

#include "apiserver/server.h"
#include "apiserver/storage/memory.h"
#include "base/sync.h"
#include "base/testing/sim_executor.h"
#include "machinery/object/api_error.h"
#include "machinery/value/value.h"

namespace apiserver {
namespace {

using machinery::request::EventType;
using machinery::request::Request;
using machinery::request::Response;
using machinery::request::Verb;
using machinery::value::Value;

class CoreTest : public ::testing::Test {
 protected:
  CoreTest() : executor_(1, base::testing::SimExecutor::Order::kFifo), storage_(executor_) {
    // There are no namespaces and accounts here: nobody has made them.
    Start();
  }
  ~CoreTest() override { Stop(); }
  void Start() {
    core_ = std::make_unique<Core>(executor_, storage_, base::Random(7),
                                   CoreOptions{.disable_admission_plugins = {"NamespaceLifecycle", "ServiceAccount"}});
    ctx_ = base::Context().WithCancel();
    stopped_ = false;
    transport_ = InProcessTransport(*core_, {.name = "tester", .groups = {"system:masters"}});
    base::Spawn(executor_, core_->Run(ctx_), [this] { stopped_ = true; });
    executor_.RunReady();
  }
  void Stop() {
    ctx_.Cancel();
    executor_.RunUntil([this] { return stopped_; }, std::chrono::seconds(10));
  }

  template <class T>
  T Wait(base::Task<T> task) {
    std::optional<T> out;
    auto run = [](base::Task<T> t, std::optional<T>* o) -> base::Task<void> { o->emplace(co_await std::move(t)); };
    base::Spawn(executor_, run(std::move(task), &out));
    executor_.RunUntil([&] { return out.has_value(); }, std::chrono::seconds(120));
    CHECK(out.has_value());
    return std::move(*out);
  }
  static Request Of(Verb verb, std::string name = "") {
    Request r;
    r.verb = verb;
    r.version = "v1";
    r.resource = "configmaps";
    r.namespace_name = "default";
    r.name = std::move(name);
    return r;
  }
  Request Write(Verb verb, std::string name, std::string json) {
    Request r = Of(verb, verb == Verb::kCreate ? "" : name);
    r.content_type = machinery::request::kJson;
    r.body = base::Share(std::move(json));
    return r;
  }
  base::Result<Value> Do(Request r) {
    auto response = Wait(transport_->Do(base::Context(), std::move(r)));
    if (!response) return base::Err(response.error());
    return machinery::value::FromJson(*response->body);
  }
  base::Result<Value> Create(const std::string& name, const std::string& more = "") {
    return Do(Write(Verb::kCreate, name,
                    R"({"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":")" + name + "\"" + more + "}}"));
  }
  // "ADDED name" of the next `count` events.
  std::vector<std::string> Seen(machinery::request::WatchStream& stream, int count) {
    std::vector<std::string> seen;
    for (int i = 0; i < count; ++i) {
      auto event = Wait(stream.Next(base::Context()));
      if (!event || !*event) break;
      auto object = machinery::value::FromJson(*(*event)->object);
      if (!object) break;
      seen.push_back(std::string(machinery::request::EventTypeName((*event)->type)) + " " +
                     std::string(object->At("metadata", "name").string_or()));
    }
    return seen;
  }

  base::testing::SimExecutor executor_;
  storage::MemoryStorage storage_;
  std::unique_ptr<Core> core_;
  std::unique_ptr<machinery::request::Transport> transport_;
  base::Context ctx_ = base::Context().WithCancel();
  bool stopped_ = false;
};

TEST_F(CoreTest, WhatIsCreatedIsReadBack) {
  auto created = Create("one");
  ASSERT_TRUE(created.has_value()) << created.error().ToString();
  EXPECT_FALSE(created->At("metadata", "uid").string_or().empty());
  auto got = Do(Of(Verb::kGet, "one"));
  ASSERT_TRUE(got.has_value()) << got.error().ToString();
  EXPECT_EQ(*created, *got);
  EXPECT_TRUE(machinery::object::IsAlreadyExists(Create("one").error()));
  EXPECT_TRUE(machinery::object::IsNotFound(Do(Of(Verb::kGet, "two")).error()));
}

TEST_F(CoreTest, ListsPageThroughOneRevision) {
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(Create("c" + std::to_string(i)).has_value());
  Request first = Of(Verb::kList);
  first.options.limit = 2;
  auto page = Do(first);
  ASSERT_TRUE(page.has_value()) << page.error().ToString();
  EXPECT_EQ(page->At("items").list().size(), 2u);
  EXPECT_EQ(page->At("metadata", "remainingItemCount").int_or(), 3);
  ASSERT_TRUE(Do(Of(Verb::kDelete, "c3")).has_value());
  Request next = first;
  next.options.limit = 0;
  next.options.continue_token = page->At("metadata", "continue").string_or();
  auto rest = Do(next);
  ASSERT_TRUE(rest.has_value()) << rest.error().ToString();
  EXPECT_EQ(rest->At("items").list().size(), 3u);
  EXPECT_EQ(rest->At("metadata", "resourceVersion"), page->At("metadata", "resourceVersion"));
}

TEST_F(CoreTest, WatchShowsWhatHappensInOrder) {
  auto made = Create("one", R"(,"labels":{"a":"1"})");
  ASSERT_TRUE(made.has_value());
  Request r = Of(Verb::kWatch);
  r.options.resource_version = made->At("metadata", "resourceVersion").string_or();
  r.options.label_selector = "a=1";
  auto stream = Wait(transport_->Watch(base::Context(), r));
  ASSERT_TRUE(stream.has_value()) << stream.error().ToString();
  ASSERT_TRUE(Create("two", R"(,"labels":{"a":"1"})").has_value());
  Request patch = Write(Verb::kPatch, "one", R"({"metadata":{"labels":{"a":"2"}}})");
  patch.patch_type = machinery::request::PatchType::kMerge;
  ASSERT_TRUE(Do(patch).has_value());
  ASSERT_TRUE(Do(Of(Verb::kDelete, "two")).has_value());
  EXPECT_EQ(Seen(**stream, 3), (std::vector<std::string>{"ADDED two", "DELETED one", "DELETED two"}));
}

// Not so the original: it answers 410 to what is older than its own first list.
TEST_F(CoreTest, AServerThatStartsAnewGoesOnWithItsWatches) {
  auto first = Create("one");
  ASSERT_TRUE(Create("two").has_value());
  ASSERT_TRUE(Do(Of(Verb::kDelete, "one")).has_value());
  auto last = Create("three");
  ASSERT_TRUE(first.has_value() && last.has_value());
  auto watch_from = [this](const Value& object) {
    Request r = Of(Verb::kWatch);
    r.options.resource_version = object.At("metadata", "resourceVersion").string_or();
    return Wait(transport_->Watch(base::Context(), r));
  };
  {
    Stop();
    Start();
    auto stream = watch_from(*first);
    ASSERT_TRUE(stream.has_value()) << stream.error().ToString();
    EXPECT_EQ(Seen(**stream, 3), (std::vector<std::string>{"ADDED two", "DELETED one", "ADDED three"}));
  }
  // What the store has forgotten cannot be shown.
  uint64_t revision = std::stoull(std::string(last->At("metadata", "resourceVersion").string_or()));
  ASSERT_TRUE(Wait(storage_.Compact(base::Context(), revision)).ok());
  Stop();
  Start();
  auto gone = watch_from(*first);
  ASSERT_TRUE(gone.has_value()) << gone.error().ToString();
  auto error = Wait((*gone)->Next(base::Context()));
  ASSERT_TRUE(error.has_value() && error->has_value());
  EXPECT_EQ((*error)->type, EventType::kError);
  EXPECT_EQ(machinery::value::FromJson(*(*error)->object)->At("reason").string_or(), "Expired");
  auto stream = watch_from(*last);
  ASSERT_TRUE(stream.has_value()) << stream.error().ToString();
  ASSERT_TRUE(Create("four").has_value());
  EXPECT_EQ(Seen(**stream, 1), (std::vector<std::string>{"ADDED four"}));
}

TEST_F(CoreTest, StaleUpdatesConflict) {
  auto made = Create("one");
  ASSERT_TRUE(made.has_value());
  Value next = *made;
  next.Ensure("data").Set("k", "v");
  std::string text = machinery::value::ToJson(next);
  ASSERT_TRUE(Do(Write(Verb::kUpdate, "one", text)).has_value());
  next.Ensure("data").Set("k", "w");
  auto stale = Do(Write(Verb::kUpdate, "one", machinery::value::ToJson(next)));
  ASSERT_FALSE(stale.has_value());
  EXPECT_TRUE(machinery::object::IsConflict(stale.error()));
}

TEST_F(CoreTest, FinalizersHoldDeletion) {
  ASSERT_TRUE(Create("held", R"(,"finalizers":["example.com/x"])").has_value());
  auto marked = Do(Of(Verb::kDelete, "held"));
  ASSERT_TRUE(marked.has_value()) << marked.error().ToString();
  EXPECT_FALSE(marked->At("metadata", "deletionTimestamp").string_or().empty());
  Request patch = Write(Verb::kPatch, "held", R"({"metadata":{"finalizers":null}})");
  patch.patch_type = machinery::request::PatchType::kMerge;
  ASSERT_TRUE(Do(patch).has_value());
  EXPECT_TRUE(machinery::object::IsNotFound(Do(Of(Verb::kGet, "held")).error()));
}

TEST_F(CoreTest, WhatDoesNotDecodeIsSkippedReportedAndDeletable) {
  ASSERT_TRUE(Create("good").has_value());
  auto made = Create("bad");
  ASSERT_TRUE(made.has_value());
  Request watch = Of(Verb::kWatch);
  watch.options.resource_version = made->At("metadata", "resourceVersion").string_or();
  auto stream = Wait(transport_->Watch(base::Context(), watch));
  ASSERT_TRUE(stream.has_value());
  const std::string key = "/registry/configmaps/default/bad";
  auto now = Wait(storage_.Get(base::Context(), key, 0));
  ASSERT_TRUE(now && now->kv);
  ASSERT_TRUE(Wait(storage_.Update(base::Context(), key, base::Share(std::string("k8s\0rubbish", 11)),
                                   now->kv->mod_revision, 0))
                  .has_value());
  EXPECT_EQ(Seen(**stream, 1), std::vector<std::string>{"DELETED bad"});
  for (bool anew : {false, true}) {
    if (anew) {
      Stop();
      Start();
    }
    EXPECT_EQ(Do(Of(Verb::kList))->At("items").list().size(), 1u);
    auto got = Do(Of(Verb::kGet, "bad"));
    ASSERT_FALSE(got.has_value());
    EXPECT_EQ(machinery::object::HttpCodeOf(got.error()), 500);
    EXPECT_NE(got.error().message().find(key), std::string_view::npos) << got.error().message();
    EXPECT_EQ(machinery::object::HttpCodeOf(Do(Of(Verb::kDelete, "bad")).error()), 500);
  }
  auto unread = [&](std::string name) {
    Request r = Write(Verb::kDelete, std::move(name), R"({"ignoreStoreReadErrorWithClusterBreakingPotential":true})");
    return Do(r);
  };
  EXPECT_EQ(machinery::object::HttpCodeOf(unread("good").error()), 422) << "only for what is broken";
  EXPECT_TRUE(unread("bad").has_value());
  EXPECT_TRUE(machinery::object::IsNotFound(Do(Of(Verb::kGet, "bad")).error()));
  EXPECT_TRUE(Create("bad").has_value());
}

TEST_F(CoreTest, TheStateOfAWatchIsReadToItsEndUnderSteadyWrites) {
  constexpr int kObjects = 1500;  // more than a slow watcher may leave unread
  for (int i = 0; i < kObjects; ++i) ASSERT_TRUE(Create("c" + std::to_string(i)).has_value());
  Request r = Of(Verb::kWatch);
  r.options.send_initial_events = true;
  r.options.resource_version_match = "NotOlderThan";
  r.options.allow_watch_bookmarks = true;
  auto stream = Wait(transport_->Watch(base::Context(), r));
  ASSERT_TRUE(stream.has_value()) << stream.error().ToString();
  bool ended = false;
  for (int i = 0; i < kObjects + 1 && !ended; ++i) {
    ASSERT_TRUE(Create("d" + std::to_string(i)).has_value());
    auto event = Wait((*stream)->Next(base::Context()));
    ASSERT_TRUE(event && *event) << i;
    ended = (*event)->type == EventType::kBookmark;
  }
  EXPECT_TRUE(ended);
  EXPECT_EQ(Seen(**stream, 2), (std::vector<std::string>{"ADDED d0", "ADDED d1"}));
}

TEST_F(CoreTest, NoTextIsCutInsideACharacter) {
  for (const std::string& prefix : {std::string(57, 'a') + "\u00e9", std::string(56, 'a') + "\u20ac"}) {
    Request r = Of(Verb::kCreate);
    r.group = "rbac.authorization.k8s.io";
    r.resource = "clusterroles";
    r.namespace_name.clear();
    r.content_type = machinery::request::kJson;
    r.body = base::Share(R"({"metadata":{"generateName":")" + prefix + R"("},"rules":[]})");
    auto made = Do(r);
    ASSERT_TRUE(made.has_value()) << made.error().ToString();
    std::string name(made->At("metadata", "name").string_or());
    EXPECT_TRUE(machinery::value::IsValidUtf8(std::string_view(name)));
    EXPECT_EQ(name.size(), prefix.size() - (prefix.size() - prefix.find_last_of('a') - 1) + 5);
  }
}

}  // namespace
}  // namespace apiserver
