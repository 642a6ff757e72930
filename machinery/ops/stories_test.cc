// The readable pages: selectors, patches, defaulting, tables, conversion.
#include <gtest/gtest.h>

#include "base/strings.h"
#include "base/testing/story.h"
#include "machinery/codec/codec.h"
#include "machinery/object/api_error.h"
#include "machinery/object/meta.h"
#include "machinery/ops/conversion.h"
#include "machinery/ops/defaulting.h"
#include "machinery/ops/patch.h"
#include "machinery/ops/selector.h"
#include "machinery/ops/table.h"
#include "machinery/ops/validation.h"
#include "proto/schema_blob.h"

namespace machinery::ops {
namespace {

using base::testing::Step;
using value::Value;

const schema::Schema& TheSchema() {
  static const schema::Schema& schema = *schema::Schema::FromDescriptors({proto::SchemaBlob()}).release();
  return schema;
}

const schema::Kind* FindKind(const Value& object) {
  for (const schema::Kind& k : TheSchema().kinds())
    if (k.kind == object::KindOf(object) && k.ApiVersion() == object::ApiVersionOf(object)) return &k;
  return nullptr;
}

Value Yaml(const std::string& text) {
  auto v = value::FromYaml(text);
  EXPECT_TRUE(v.has_value()) << text << "\n" << (v ? "" : v.error().ToString());
  return v ? *v : Value();
}

std::string Show(const base::Result<Value>& v) {
  if (v) return value::ToJson(*v, false, true);
  return std::to_string(object::HttpCodeOf(v.error())) + " " + std::string(v.error().message());
}

// Documents of one input, divided by lines of three dashes.
std::vector<std::string> Documents(const std::string& input) {
  std::vector<std::string> out{""};
  for (const std::string& line : base::Split(input, '\n')) {
    if (line == "---") {
      out.emplace_back();
    } else {
      out.back() += line + "\n";
    }
  }
  return out;
}

TEST(Stories, Selectors) {
  base::testing::RunStory("stories/selectors.txt", [](const Step& step) {
    std::string out;
    for (const std::string& line : base::Split(step.input, '\n')) {
      if (step.command == "labels") {
        auto s = LabelSelector::Parse(line);
        out += s ? s->ToString() : "error: " + std::string(s.error().message());
      } else if (step.command == "fields") {
        auto s = FieldSelector::Parse(line);
        out += s ? s->ToString() : "error: " + std::string(s.error().message());
      } else if (step.command == "object") {
        auto s = LabelSelector::FromObject(Yaml(line));
        out += !s ? "error: " + std::string(s.error().message()) : s->MatchesNothing() ? "nothing" : s->ToString();
      } else {  // match SELECTOR, labels a line
        auto s = LabelSelector::Parse(step.args.empty() ? "" : base::Join(step.args, " "));
        out += line + ": " + (s->Matches(Yaml(line)) ? "yes" : "no");
      }
      out += "\n";
    }
    return out;
  });
}

TEST(Stories, Patches) {
  base::testing::RunStory("stories/patches.txt", [](const Step& step) {
    std::vector<std::string> parts = Documents(step.input);
    EXPECT_EQ(parts.size(), 2u) << step.line;
    Value doc = Yaml(parts[0]), patch = Yaml(parts[1]);
    if (step.command == "json") return Show(ApplyJsonPatch(doc, patch));
    if (step.command == "merge") return Show(ApplyMergePatch(doc, patch));
    const schema::Kind* kind =
        FindKind(Value(value::Map{{"kind", Value(step.args.at(1))}, {"apiVersion", Value(step.args.at(0))}}));
    EXPECT_NE(kind, nullptr) << step.line;
    return Show(ApplyStrategicMergePatch(*kind->type, doc, patch));
  });
}

TEST(Stories, Defaulting) {
  static const Defaulter defaulter(TheSchema());
  base::testing::RunStory("stories/defaulting.txt", [](const Step& step) -> std::string {
    Value raw = Yaml(step.input);
    const schema::Kind* kind = FindKind(raw);
    EXPECT_NE(kind, nullptr) << step.line;
    auto object = codec::Normalize(*kind->type, raw);
    if (!object) return object.error().ToString();
    defaulter.Apply(*kind, *object);
    auto once = codec::Normalize(*kind->type, *object);
    if (!once) return once.error().ToString();
    Value twice = *once;
    defaulter.Apply(*kind, twice);
    EXPECT_EQ(value::ToJson(twice, false, true), value::ToJson(*once, false, true)) << "line " << step.line;
    return value::ToYaml(*once);
  });
}

TEST(Stories, Tables) {
  using namespace std::chrono;
  static const base::WallTime now = sys_days(year(2026) / 3 / 1) + 12h;
  base::testing::RunStory("stories/tables.txt", [](const Step& step) -> std::string {
    if (step.command == "age") {
      std::string out;
      for (const std::string& line : base::Split(step.input, '\n'))
        out += line + ": " + HumanDuration(seconds(std::stoll(line))) + "\n";
      return out;
    }
    Value object = Yaml(step.input);
    const schema::Kind* kind = FindKind(object);
    EXPECT_NE(kind, nullptr) << step.line;
    Value table = MakeTable(*kind, object::MetaOf(object), {&object}, {.now = now});
    std::string out;
    const value::List& columns = table.At("columnDefinitions").list();
    const value::List& cells = table.At("rows").At(size_t{0}).At("cells").list();
    for (size_t i = 0; i < cells.size(); ++i)
      out += (i < columns.size() ? std::string(columns[i].At("name").string_or()) : "?") + ": " +
             value::ToJson(cells[i]) + "\n";
    if (const Value& c = table.At("rows").At(size_t{0}).At("conditions"); !c.is_null()) out += value::ToJson(c) + "\n";
    return out;
  });
}

TEST(Stories, Conversion) {
  base::testing::RunStory("stories/conversion.txt", [](const Step& step) {
    Value v = Yaml(step.input);
    std::string kind(object::KindOf(v)), from(object::ApiVersionOf(v));
    auto there = Convert(kind, from, step.args.at(0), v);
    if (!there) return there.error().ToString();
    auto back = Convert(kind, step.args.at(0), from, *there);
    EXPECT_EQ(value::ToJson(*back, false, true), value::ToJson(v, false, true)) << "line " << step.line;
    return value::ToYaml(*there);
  });
}

TEST(Tables, EveryColumnOfEveryKindHasACell) {
  for (const schema::Kind& kind : TheSchema().kinds()) {
    Value empty(value::Map{{"metadata", Value(value::Map{{"name", Value("x")}})}});
    Value table = MakeTable(kind, Value(), {&empty}, {});
    EXPECT_GE(table.At("rows").At(size_t{0}).At("cells").list().size(), kind.columns.size()) << kind.kind;
  }
}

}  // namespace
}  // namespace machinery::ops
