#include "apiserver/storage/object.h"

#include <algorithm>

#include "base/bug.h"
#include "base/protobuf_wire.h"
#include "machinery/codec/codec.h"

namespace apiserver::storage {

namespace codec = machinery::codec;
using base::wire::Reader;
using machinery::schema::Kind;
using machinery::value::Value;

namespace {

constexpr uint32_t kMetadata = 1, kMetaLabels = 11;

std::string ReadPath(std::string_view message, const SelectableField& f) {
  for (size_t i = 0; i < f.path.size(); ++i) {
    bool last = i + 1 == f.path.size(), found = false;
    Reader in(message);
    while (in.Next()) {
      if (in.field() != static_cast<uint32_t>(f.path[i])) continue;
      found = true;
      if (last) {
        if (f.form == SelectableField::Form::kString) return std::string(in.bytes());
        if (f.form == SelectableField::Form::kBool) return in.value() ? "true" : "false";
        return std::to_string(static_cast<int64_t>(in.value()));
      }
      message = in.bytes();
      break;
    }
    if (!found) break;
  }
  switch (f.form) {
    case SelectableField::Form::kBool:
      return "false";
    case SelectableField::Form::kInt:
      return "0";
    default:
      return {};
  }
}

}  // namespace

void EncodingBudget::Add(std::weak_ptr<const Object> holder, size_t bytes) {
  entries_.push_back({std::move(holder), bytes});
  bytes_ += bytes;
  while (bytes_ > max_bytes_ && entries_.size() > 1) {
    if (auto object = entries_.front().holder.lock()) object->encodings_.clear();
    bytes_ -= entries_.front().bytes;
    entries_.pop_front();
  }
}

base::Result<std::shared_ptr<const Object>> Object::Make(const Resource& resource, EncodingBudget& budget,
                                                         std::string key, uint64_t revision,
                                                         base::SharedBytes message) {
  // Not make_shared: the budget's weak pointers must not keep the object's own memory.
  std::shared_ptr<Object> o(new Object(resource, budget));
  o->key_ = std::move(key);
  o->revision_ = revision;
  o->message_ = std::move(message);
  TRY(o->ReadView());
  return o;
}

base::Status Object::ReadView() {
  Reader in(*message_);
  while (in.Next()) {
    if (in.field() != kMetadata) continue;
    Reader meta(in.bytes());
    while (meta.Next()) {
      if (meta.field() != kMetaLabels) continue;
      Reader entry(meta.bytes());
      std::pair<std::string, std::string> label;
      while (entry.Next()) (entry.field() == 1 ? label.first : label.second) = std::string(entry.bytes());
      labels_.push_back(std::move(label));
    }
    if (!meta.ok()) return base::DataLoss("object " + key_ + ": broken metadata");
    break;
  }
  if (!in.ok()) return base::DataLoss("object " + key_ + ": broken message");
  std::sort(labels_.begin(), labels_.end());
  labels_.shrink_to_fit();
  fields_.reserve(resource_.fields.size());
  for (const auto& f : resource_.fields) {
    if (f.compute)
      fields_.emplace_back();
    else
      fields_.push_back(ReadPath(*message_, f));
  }
  std::optional<Value> tree;
  for (size_t i = 0; i < resource_.fields.size(); ++i) {
    const auto& f = resource_.fields[i];
    if (!f.compute) continue;
    if (!tree) tree = Tree();
    fields_[i] = f.compute(*tree);
  }
  return base::Ok();
}

std::string_view Object::name() const {
  std::string_view k = key_;
  auto slash = k.find('/');
  return resource_.namespaced && slash != k.npos ? k.substr(slash + 1) : k;
}

std::string_view Object::namespace_name() const {
  std::string_view k = key_;
  auto slash = k.find('/');
  return resource_.namespaced && slash != k.npos ? k.substr(0, slash) : std::string_view();
}

std::string_view Object::Label(std::string_view key, bool* found) const {
  auto it = std::lower_bound(labels_.begin(), labels_.end(), key, [](const auto& l, auto k) { return l.first < k; });
  bool there = it != labels_.end() && it->first == key;
  if (found) *found = there;
  return there ? std::string_view(it->second) : std::string_view();
}

Value Object::Tree() const {
  const Kind& kind = *resource_.storage_kind;
  auto v = codec::DecodeProtobuf(*kind.type, *message_);
  // Make was given what the codec wrote. Were that untrue for one object, its request ends, not the process.
  if (!v) base::ThrowRequestBug("object " + key_ + ": " + std::string(v.error().message()));
  Value out{machinery::value::Map{}};
  out.Set("kind", kind.kind);
  out.Set("apiVersion", kind.ApiVersion());
  for (auto& e : v->map().entries()) {
    if (e.key == "kind" || e.key == "apiVersion") continue;
    out.map().Append(std::move(e.key), std::move(e.value));
  }
  if (resource_.embeds_objects) resource_.apply_defaults(out);
  return out;
}

base::Result<Value> Object::TreeAs(const Kind& version) const {
  if (&version == resource_.storage_kind || !resource_.convert) return Tree();
  return resource_.convert(*resource_.storage_kind, version, Tree());
}

base::Result<base::SharedBytes> Object::MessageAs(const Kind& version) const {
  if (&version == resource_.storage_kind) return message_;
  for (const auto& e : encodings_)
    if (e.version == &version && !e.json) return e.bytes;
  TRY_ASSIGN(Value tree, TreeAs(version));
  auto bytes = base::Share(codec::EncodeProtobuf(*version.type, tree));
  encodings_.push_back({&version, false, bytes});
  budget_.Add(weak_from_this(), bytes->size());
  return bytes;
}

base::Result<base::SharedBytes> Object::JsonAs(const Kind& version) const {
  for (const auto& e : encodings_)
    if (e.version == &version && e.json) return e.bytes;
  std::string text;
  if (&version == resource_.storage_kind && !resource_.embeds_objects) {
    text.reserve(message_->size() * 2);
    TRY(codec::TranscodeToJson(*version.type, *message_, {}, text));
  } else {
    TRY_ASSIGN(Value tree, TreeAs(version));
    tree.Remove("kind");
    tree.Remove("apiVersion");
    codec::AppendJson(text, *version.type, tree);
  }
  auto bytes = base::Share(std::move(text));
  encodings_.push_back({&version, true, bytes});
  budget_.Add(weak_from_this(), bytes->size());
  return bytes;
}

std::shared_ptr<const Object> Object::WithRevision(uint64_t revision) const {
  std::shared_ptr<Object> o(new Object(resource_, budget_));
  o->key_ = key_;
  o->revision_ = revision;
  auto spliced = codec::SpliceResourceVersion(*message_, std::to_string(revision));
  if (!spliced) base::ThrowRequestBug("object " + key_ + ": " + std::string(spliced.error().message()));
  o->message_ = base::Share(std::move(*spliced));
  o->labels_ = labels_;
  o->fields_ = fields_;
  return o;
}

}  // namespace apiserver::storage
