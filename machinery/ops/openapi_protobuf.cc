#include "machinery/ops/openapi_protobuf.h"

#include <bit>
#include <vector>

#include "base/protobuf_wire.h"

namespace machinery::ops {
namespace {

using base::wire::BackWriter;
using base::wire::WireType;
using value::Value;

// How a JSON value becomes a field.
enum class Form : uint8_t {
  kText,
  kTexts,
  kBool,
  kInt,
  kDouble,
  kAny,   // {yaml = 2}
  kAnys,  // one per entry of a list
  kMessage,
  kMessages,
  kNamed,          // a map: entries {name = 1, value = 2} in field 1 of a message in between
  kNamedHere,      // entries without that message
  kSchemaOrBool,   // {schema = 1 | boolean = 2}
  kTextOrTexts,    // {value = 1}, repeated
  kSchemaOrList,   // {schema = 1}, repeated
  kSchemaItem,     // {schema = 1}
  kParameters,     // each {parameter = 1 | json_reference = 2}
  kRequirements,   // [{name: [texts]}]
  kSecurityNamed,  // only API keys
};

enum class M : uint8_t { kDocument, kInfo, kPathItem, kOperation, kResponse, kSchema, kApiKey, kBody, kOther, kItems };

struct FieldSpec {
  std::string_view json;
  int32_t number;
  Form form;
  M message = M::kDocument;
};
struct MessageSpec {
  int32_t extensions;
  std::vector<FieldSpec> fields;
};

const MessageSpec& SpecOf(M m);

class Encoder {
 public:
  // The writer fills from the back: fields are written in falling order.
  void Message(const Value& v, M m) {
    const MessageSpec& spec = SpecOf(m);
    Message(v, spec);
  }
  std::string Take() const { return w_.Take(); }

 private:
  void Message(const Value& v, const MessageSpec& spec) {
    if (!v.is_map()) return;
    if (spec.extensions > 0) Extensions(v, spec.extensions);
    for (auto f = spec.fields.rbegin(); f != spec.fields.rend(); ++f)
      if (const Value* found = v.map().Find(f->json)) Field(*f, *found);
  }

  // Writes `body`, then closes it as field `number`.
  template <class F>
  void Inside(int32_t number, F body) {
    size_t before = w_.size();
    body();
    w_.Close(number, before);
  }
  template <class F>
  void Backwards(const Value& list, F each) {
    if (!list.is_list()) return;
    for (auto it = list.list().rbegin(); it != list.list().rend(); ++it) each(*it);
  }
  template <class F>
  void Entries(const Value& map, int32_t number, F value) {
    if (!map.is_map()) return;
    const auto& entries = map.map().entries();
    for (auto it = entries.rbegin(); it != entries.rend(); ++it)
      Inside(number, [&] {
        value(it->value);
        w_.Field(1, it->key);
      });
  }

  void Any(int32_t number, const Value& v) {
    Inside(number, [&] { w_.Field(2, value::ToYaml(v)); });
  }
  void Extensions(const Value& v, int32_t number) {
    const auto& entries = v.map().entries();
    for (auto it = entries.rbegin(); it != entries.rend(); ++it) {
      if (!it->key.starts_with("x-")) continue;
      Inside(number, [&] {
        Any(2, it->value);
        w_.Field(1, it->key);
      });
    }
  }

  void Double(int32_t number, const Value& v) {
    auto bits = std::bit_cast<uint64_t>(v.is_number() ? v.as_double() : 0.0);
    char text[8];
    for (char& c : text) {
      c = static_cast<char>(bits);
      bits >>= 8;
    }
    w_.Bytes({text, 8});
    w_.Tag(number, WireType::kFixed64);
  }

  void Parameter(const Value& v) {
    if (const Value& ref = v.At("$ref"); ref.is_string()) {
      Inside(2, [&] { w_.Field(1, ref.string_or()); });
      return;
    }
    std::string_view in = v.At("in").string_or();
    Inside(1, [&] {
      if (in == "body") {
        Inside(1, [&] { Message(v, M::kBody); });
        return;
      }
      int32_t which = in == "header" ? 1 : in == "formData" ? 2 : in == "query" ? 3 : 4;
      Inside(2, [&] { Inside(which, [&] { OtherParameter(v, which); }); });
    });
  }

  // Forms and queries have one field more (4 is the name, 5 allowEmptyValue), which moves the later ones on.
  void OtherParameter(const Value& v, int32_t which) {
    bool longer = which == 2 || which == 3;
    MessageSpec spec = SpecOf(M::kOther);
    if (longer) {
      for (auto& f : spec.fields)
        if (f.number > 4) ++f.number;
      ++spec.extensions;
    }
    Message(v, spec);
  }

  void Response(const Value& v) {
    if (const Value& ref = v.At("$ref"); ref.is_string())
      Inside(2, [&] { w_.Field(1, ref.string_or()); });
    else
      Inside(1, [&] { Message(v, M::kResponse); });
  }

  void Field(const FieldSpec& f, const Value& v);

  BackWriter w_;
};

void Encoder::Field(const FieldSpec& f, const Value& v) {
  auto schema = [&](const Value& s) { Inside(1, [&] { Message(s, M::kSchema); }); };
  switch (f.form) {
    case Form::kText:
      return w_.Field(f.number, v.string_or());
    case Form::kTexts:
      return Backwards(v, [&](const Value& s) { w_.Field(f.number, s.string_or()); });
    case Form::kBool:
      return v.bool_or() ? w_.IntField(f.number, 1) : void();
    case Form::kInt:
      return w_.IntField(f.number, static_cast<uint64_t>(v.int_or()));
    case Form::kDouble:
      return Double(f.number, v);
    case Form::kAny:
      return Any(f.number, v);
    case Form::kAnys:
      return Backwards(v, [&](const Value& one) { Any(f.number, one); });
    case Form::kMessage:
      return Inside(f.number, [&] { Message(v, f.message); });
    case Form::kMessages:
      return Backwards(v, [&](const Value& one) { Inside(f.number, [&] { Message(one, f.message); }); });
    case Form::kNamed:
      return Inside(f.number,
                    [&] { Entries(v, 1, [&](const Value& one) { Inside(2, [&] { Message(one, f.message); }); }); });
    case Form::kNamedHere:
      // Paths {path = 2}, Responses {response_code = 1}.
      return Inside(f.number, [&] {
        if (f.message == M::kResponse)
          Entries(v, 1, [&](const Value& one) { Inside(2, [&] { Response(one); }); });
        else
          Entries(v, 2, [&](const Value& one) { Inside(2, [&] { Message(one, f.message); }); });
      });
    case Form::kSchemaOrBool:
      return Inside(f.number, [&] { v.is_map() ? schema(v) : w_.IntField(2, v.bool_or() ? 1 : 0); });
    case Form::kTextOrTexts:
      return Inside(f.number, [&] {
        if (v.is_string()) return w_.Field(1, v.string_or());
        Backwards(v, [&](const Value& s) { w_.Field(1, s.string_or()); });
      });
    case Form::kSchemaOrList:
      return Inside(f.number, [&] { v.is_list() ? Backwards(v, schema) : schema(v); });
    case Form::kSchemaItem:
      return Inside(f.number, [&] { schema(v); });
    case Form::kParameters:
      return Backwards(v, [&](const Value& p) { Inside(f.number, [&] { Parameter(p); }); });
    case Form::kRequirements:
      return Backwards(v, [&](const Value& one) {
        Inside(f.number, [&] {
          Entries(one, 1, [&](const Value& scopes) {
            Inside(2, [&] { Backwards(scopes, [&](const Value& s) { w_.Field(1, s.string_or()); }); });
          });
        });
      });
    case Form::kSecurityNamed:
      return Inside(f.number, [&] {
        Entries(v, 1, [&](const Value& one) { Inside(2, [&] { Inside(2, [&] { Message(one, M::kApiKey); }); }); });
      });
  }
}

using enum Form;

const MessageSpec kDocumentSpec = {16,
                                   {{"swagger", 1, kText},
                                    {"info", 2, kMessage, M::kInfo},
                                    {"host", 3, kText},
                                    {"basePath", 4, kText},
                                    {"schemes", 5, kTexts},
                                    {"consumes", 6, kTexts},
                                    {"produces", 7, kTexts},
                                    {"paths", 8, kNamedHere, M::kPathItem},
                                    {"definitions", 9, kNamed, M::kSchema},
                                    {"security", 12, kRequirements},
                                    {"securityDefinitions", 13, kSecurityNamed}}};
const MessageSpec kInfoSpec = {7, {{"title", 1, kText}, {"version", 2, kText}, {"description", 3, kText}}};
const MessageSpec kPathItemSpec = {10,
                                   {{"$ref", 1, kText},
                                    {"get", 2, kMessage, M::kOperation},
                                    {"put", 3, kMessage, M::kOperation},
                                    {"post", 4, kMessage, M::kOperation},
                                    {"delete", 5, kMessage, M::kOperation},
                                    {"options", 6, kMessage, M::kOperation},
                                    {"head", 7, kMessage, M::kOperation},
                                    {"patch", 8, kMessage, M::kOperation},
                                    {"parameters", 9, kParameters}}};
const MessageSpec kOperationSpec = {13,
                                    {{"tags", 1, kTexts},
                                     {"summary", 2, kText},
                                     {"description", 3, kText},
                                     {"operationId", 5, kText},
                                     {"produces", 6, kTexts},
                                     {"consumes", 7, kTexts},
                                     {"parameters", 8, kParameters},
                                     {"responses", 9, kNamedHere, M::kResponse},
                                     {"schemes", 10, kTexts},
                                     {"deprecated", 11, kBool},
                                     {"security", 12, kRequirements}}};
const MessageSpec kResponseSpec = {5, {{"description", 1, kText}, {"schema", 2, kSchemaItem}}};
const MessageSpec kSchemaSpec = {31,
                                 {{"$ref", 1, kText},
                                  {"format", 2, kText},
                                  {"title", 3, kText},
                                  {"description", 4, kText},
                                  {"default", 5, kAny},
                                  {"multipleOf", 6, kDouble},
                                  {"maximum", 7, kDouble},
                                  {"exclusiveMaximum", 8, kBool},
                                  {"minimum", 9, kDouble},
                                  {"exclusiveMinimum", 10, kBool},
                                  {"maxLength", 11, kInt},
                                  {"minLength", 12, kInt},
                                  {"pattern", 13, kText},
                                  {"maxItems", 14, kInt},
                                  {"minItems", 15, kInt},
                                  {"uniqueItems", 16, kBool},
                                  {"maxProperties", 17, kInt},
                                  {"minProperties", 18, kInt},
                                  {"required", 19, kTexts},
                                  {"enum", 20, kAnys},
                                  {"additionalProperties", 21, kSchemaOrBool},
                                  {"type", 22, kTextOrTexts},
                                  {"items", 23, kSchemaOrList},
                                  {"allOf", 24, kMessages, M::kSchema},
                                  {"properties", 25, kNamed, M::kSchema},
                                  {"discriminator", 26, kText},
                                  {"readOnly", 27, kBool},
                                  {"example", 30, kAny}}};
const MessageSpec kApiKeySpec = {5,
                                 {{"type", 1, kText}, {"name", 2, kText}, {"in", 3, kText}, {"description", 4, kText}}};
const MessageSpec kBodySpec = {6,
                               {{"description", 1, kText},
                                {"name", 2, kText},
                                {"in", 3, kText},
                                {"required", 4, kBool},
                                {"schema", 5, kMessage, M::kSchema}}};
// In a path or header.
const MessageSpec kOtherSpec = {22,
                                {{"required", 1, kBool},
                                 {"in", 2, kText},
                                 {"description", 3, kText},
                                 {"name", 4, kText},
                                 {"type", 5, kText},
                                 {"format", 6, kText},
                                 {"items", 7, kMessage, M::kItems},
                                 {"collectionFormat", 8, kText},
                                 {"default", 9, kAny},
                                 {"uniqueItems", 19, kBool},
                                 {"enum", 20, kAnys}}};
const MessageSpec kItemsSpec = {
    18, {{"type", 1, kText}, {"format", 2, kText}, {"items", 3, kMessage, M::kItems}, {"collectionFormat", 4, kText}}};

const MessageSpec& SpecOf(M m) {
  switch (m) {
    case M::kDocument:
      return kDocumentSpec;
    case M::kInfo:
      return kInfoSpec;
    case M::kPathItem:
      return kPathItemSpec;
    case M::kOperation:
      return kOperationSpec;
    case M::kResponse:
      return kResponseSpec;
    case M::kSchema:
      return kSchemaSpec;
    case M::kApiKey:
      return kApiKeySpec;
    case M::kBody:
      return kBodySpec;
    case M::kOther:
      return kOtherSpec;
    case M::kItems:
      return kItemsSpec;
  }
  return kDocumentSpec;
}

}  // namespace

std::string OpenApiV2Protobuf(const Value& document) {
  Encoder encoder;
  encoder.Message(document, M::kDocument);
  return encoder.Take();
}

}  // namespace machinery::ops
