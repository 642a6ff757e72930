// Events to the API, or to the log where there is none. One strand.
#pragma once

#include <string>

#include "kubelet/events.h"
#include "machinery/client/event_recorder.h"

namespace kubelet {

class EventSink final : public Events {
 public:
  // `recorder` is null without an API.
  EventSink(machinery::client::EventRecorder* recorder, std::string node)
      : recorder_(recorder), node_(std::move(node)) {}

  void Pod(const api::Pod& pod, std::string_view container, std::string_view type, std::string reason,
           std::string message) override;
  void Node(std::string_view type, std::string reason, std::string message) override;

 private:
  machinery::client::EventRecorder* recorder_;
  std::string node_;
};

}  // namespace kubelet
