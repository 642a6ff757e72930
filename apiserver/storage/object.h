// One revision of one object as the cache keeps it, and what the cache must know about its resource.
//
// An Object holds its canonical Protobuf message of the storage version (resourceVersion spliced in) and a small parsed
// view: labels and the selectable fields. Other encodings are made at most once per (version, media type) and shared by
// every reader; how many bytes of them stay is bounded by an EncodingBudget. Immutable to readers; one strand.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"
#include "machinery/schema/type.h"
#include "machinery/value/value.h"

namespace apiserver::storage {

// A field that selectors may name: "spec.nodeName", read from the message by field numbers.
struct SelectableField {
  std::string name;           // as the selector spells it
  std::vector<int32_t> path;  // Protobuf field numbers below the object; empty = computed
  enum class Form : uint8_t { kString, kBool, kInt } form = Form::kString;
  std::string (*compute)(const machinery::value::Value& object) = nullptr;  // in place of a path
};

// What all versions of a resource share. Made by the registry, lives as long as the server.
struct Resource {
  const machinery::schema::Kind* storage_kind = nullptr;  // its type is what messages are of
  std::vector<const machinery::schema::Kind*> served;     // all served versions, in order of preference
  std::string group, resource;                            // of the storage kind
  bool namespaced = false;
  std::string prefix;  // "/registry/pods/"
  bool stored_as_json = false;
  bool embeds_objects = false;          // trees get kind and apiVersion of inner objects by defaulting
  std::vector<SelectableField> fields;  // metadata.name, metadata.namespace are implied
  int node_name_field = -1;             // index of spec.nodeName in `fields`
  // Tree-to-tree conversion between served versions; null when there is one version (or they are equal).
  std::function<base::Result<machinery::value::Value>(const machinery::schema::Kind& from,
                                                      const machinery::schema::Kind& to, machinery::value::Value v)>
      convert;
  // Fills defaults into an object read from the store.
  std::function<void(machinery::value::Value& v)> apply_defaults;
};

// Bounds the bytes that cached encodings use: the oldest are dropped first.
class EncodingBudget {
 public:
  explicit EncodingBudget(size_t max_bytes) : max_bytes_(max_bytes) {}

 private:
  friend class Object;
  void Add(std::weak_ptr<const class Object> holder, size_t bytes);
  size_t max_bytes_;
  size_t bytes_ = 0;
  struct Entry {
    std::weak_ptr<const class Object> holder;
    size_t bytes;
  };
  std::deque<Entry> entries_;
};

class Object : public std::enable_shared_from_this<Object> {
 public:
  using Labels = std::vector<std::pair<std::string, std::string>>;

  // `message`: canonical, with its resourceVersion. Reads the view; an error means the bytes are broken.
  static base::Result<std::shared_ptr<const Object>> Make(const Resource& resource, EncodingBudget& budget,
                                                          std::string key, uint64_t revision,
                                                          base::SharedBytes message);

  const Resource& resource() const { return resource_; }
  const std::string& key() const { return key_; }  // below the resource's prefix: "default/web"
  std::string_view name() const;
  std::string_view namespace_name() const;
  uint64_t revision() const { return revision_; }
  const base::SharedBytes& message() const { return message_; }
  const Labels& labels() const { return labels_; }  // sorted
  std::string_view Label(std::string_view key, bool* found = nullptr) const;
  std::string_view field(size_t index) const { return fields_[index]; }

  // A tree of the storage version, with kind and apiVersion. Decoded at each call.
  machinery::value::Value Tree() const;
  // A tree of another served version.
  base::Result<machinery::value::Value> TreeAs(const machinery::schema::Kind& version) const;

  // The message in `version`: shared with the cache for the storage version.
  base::Result<base::SharedBytes> MessageAs(const machinery::schema::Kind& version) const;
  // Canonical JSON in `version` without kind and apiVersion (as list items are), no newline.
  base::Result<base::SharedBytes> JsonAs(const machinery::schema::Kind& version) const;
  // The same object as seen at a later revision (a DELETED event carries the revision of the deletion).
  std::shared_ptr<const Object> WithRevision(uint64_t revision) const;

  Object(const Object&) = delete;

 private:
  friend class EncodingBudget;
  struct Encoding {
    const machinery::schema::Kind* version;
    bool json;
    base::SharedBytes bytes;
  };
  Object(const Resource& resource, EncodingBudget& budget) : resource_(resource), budget_(budget) {}
  base::Status ReadView();

  const Resource& resource_;
  EncodingBudget& budget_;
  std::string key_;
  uint64_t revision_ = 0;
  base::SharedBytes message_;
  Labels labels_;
  std::vector<std::string> fields_;
  mutable std::vector<Encoding> encodings_;
};
using ObjectPtr = std::shared_ptr<const Object>;

}  // namespace apiserver::storage
