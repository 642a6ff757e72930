// resources/v1 on the wire: the daemons' gRPC calls become the same Requests that REST makes, through the same chain.
// Parsed and printed with the message classes only where objects are not inside; object bytes are never copied twice.
//
// Owned by the Server; called by base/net on the server's loop.
#pragma once

#include "apiserver/chain/chain.h"
#include "base/net/grpc.h"

namespace apiserver::rpc {

// Adds keelson.resources.v1.Resources/{Do,Watch} to `service`. `chain` must outlive it.
void AddResources(base::net::GrpcService& service, chain::Chain& chain);

}  // namespace apiserver::rpc
