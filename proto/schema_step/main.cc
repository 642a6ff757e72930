// Build step: FileDescriptorSet in, FileDescriptorSet out, with the doc comments of messages and fields and no other
// source information. protoc records a position for every token, which is four fifths of its output.
#include <google/protobuf/descriptor.pb.h>

#include <fstream>
#include <iostream>

namespace {

using google::protobuf::FileDescriptorProto;
using google::protobuf::FileDescriptorSet;
using google::protobuf::SourceCodeInfo;

// Paths are pairs of field number and index: 4 is FileDescriptorProto.message_type, then 3 nested_type, 2 field.
bool IsMessageOrField(const SourceCodeInfo::Location& at) {
  if (at.path_size() < 2 || at.path_size() % 2 != 0 || at.path(0) != FileDescriptorProto::kMessageTypeFieldNumber) {
    return false;
  }
  for (int i = 2; i < at.path_size(); i += 2) {
    bool last = i + 2 == at.path_size();
    if (at.path(i) == 3) continue;
    if (at.path(i) != 2 || !last) return false;
  }
  return true;
}

// The comment's lines as one line of prose.
std::string Prose(const std::string& comment) {
  std::string prose;
  bool space = false;
  for (char c : comment) {
    if (c == ' ' || c == '\n') {
      space = !prose.empty();
      continue;
    }
    if (space) prose += ' ';
    space = false;
    prose += c;
  }
  return prose;
}

SourceCodeInfo KeepComments(const SourceCodeInfo& all) {
  SourceCodeInfo kept;
  for (const auto& at : all.location()) {
    if (!at.has_leading_comments() || !IsMessageOrField(at)) continue;
    auto* location = kept.add_location();
    *location->mutable_path() = at.path();
    for (int i = 0; i < 3; ++i) location->add_span(0);  // descriptors ignore a location without span
    location->set_leading_comments(Prose(at.leading_comments()));
  }
  return kept;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: proto_schema_step IN OUT\n";
    return 2;
  }
  FileDescriptorSet set;
  std::ifstream in(argv[1], std::ios::binary);
  if (!set.ParseFromIstream(&in)) {
    std::cerr << argv[1] << ": not a FileDescriptorSet\n";
    return 1;
  }
  for (auto& file : *set.mutable_file()) {
    SourceCodeInfo kept = KeepComments(file.source_code_info());
    file.clear_source_code_info();
    if (file.name().starts_with("proto/k8s/") && kept.location_size() > 0) {
      *file.mutable_source_code_info() = std::move(kept);
    }
  }
  std::ofstream out(argv[2], std::ios::binary);
  return set.SerializeToOstream(&out) && out.flush() ? 0 : 1;
}
