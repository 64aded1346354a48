resource "genesyscloud_location" "hq" {
  name = "HQ"
  address {
    street1  = "1 Harbour Street"
    city     = "Portland"
    state    = "OR"
    country  = "US"
    zip_code = "97204"
  }
  emergency_number {
    number = "+15035550100"
    type   = "default"
  }
}
resource "genesyscloud_telephony_providers_edges_site" "s" {
  name                            = "V1 site"
  description                     = "v1 d"
  location_id                     = genesyscloud_location.hq.id
  media_model                     = "Cloud"
  media_regions_use_latency_based = true
  edge_auto_update_config {
    time_zone = "America/New_York"
    rrule     = "FREQ=WEEKLY;BYDAY=SU"
    start     = "2026-02-01T08:00:00.000000"
    end       = "2026-02-01T11:00:00.000000"
  }
  number_plans {
    name           = "short numbers"
    classification = "short numbers"
    match_type     = "numberList"
    numbers {
      start = "300"
      end   = "309"
    }
  }
}
resource "genesyscloud_telephony_providers_edges_trunkbasesettings" "t" {
  name               = "V1 trunk"
  description        = "v1 d"
  trunk_meta_base_id = "external_sip_pcv_byoc_carrier.json"
  trunk_type         = "EXTERNAL"
  managed            = false
  inbound_site_id    = genesyscloud_telephony_providers_edges_site.s.id
  properties = jsonencode({
    "trunk_label" = { "value" = { "instance" = "V1 trunk" } }
  })
}
resource "genesyscloud_telephony_providers_edges_trunkbasesettings" "p" {
  name               = "V1 phone trunk"
  trunk_meta_base_id = "phone_connections_webrtc.json"
  trunk_type         = "PHONE"
  properties = jsonencode({
    "trunk_label" = { "value" = { "instance" = "V1 phone trunk" } }
  })
}
resource "genesyscloud_telephony_providers_edges_edge_group" "g" {
  name                 = "V1 edge group"
  description          = "v1 d"
  managed              = false
  hybrid               = false
  phone_trunk_base_ids = [genesyscloud_telephony_providers_edges_trunkbasesettings.p.id]
  # The provider never takes back what a trunk assigned: the group must go before those settings.
  depends_on = [genesyscloud_telephony_providers_edges_trunkbasesettings.t]
}
resource "genesyscloud_telephony_providers_edges_site_outbound_route" "r" {
  site_id                 = genesyscloud_telephony_providers_edges_site.s.id
  name                    = "V1 route"
  description             = "v1 d"
  classification_types    = ["International"]
  enabled                 = false
  distribution            = "SEQUENTIAL"
  external_trunk_base_ids = [genesyscloud_telephony_providers_edges_trunkbasesettings.t.id]
}
resource "genesyscloud_telephony_providers_edges_did_pool" "d" {
  start_phone_number = "+13175550000"
  end_phone_number   = "+13175550005"
  description        = "v1 d"
  comments           = "v1 c"
}
resource "genesyscloud_telephony_providers_edges_extension_pool" "e" {
  start_number = "2500"
  end_number   = "2599"
  description  = "v1 d"
}
resource "genesyscloud_telephony_providers_edges_phonebasesettings" "b" {
  name               = "V1 base"
  description        = "v1 d"
  phone_meta_base_id = "inin_webrtc_softphone.json"
  properties = jsonencode({
    "phone_label" = { "value" = { "instance" = "Generic SIP Phone" } }
  })
  capabilities {
    registers             = false
    provisions            = false
    dual_registers        = false
    no_cloud_provisioning = false
    allow_reboot          = false
    hardware_id_type      = "mac"
    no_rebalance          = false
    media_codecs          = ["audio/opus"]
    cdm                   = true
  }
}
resource "genesyscloud_user" "phone" {
  email = "phone@example.com"
  name  = "Phone User"
}
resource "genesyscloud_telephony_providers_edges_phone" "p" {
  name                   = "V1 phone"
  state                  = "active"
  site_id                = genesyscloud_telephony_providers_edges_site.s.id
  phone_base_settings_id = genesyscloud_telephony_providers_edges_phonebasesettings.b.id
  web_rtc_user_id        = genesyscloud_user.phone.id
}
resource "genesyscloud_telephony_providers_edges_trunk" "t" {
  trunk_base_settings_id = genesyscloud_telephony_providers_edges_trunkbasesettings.t.id
  edge_group_id          = genesyscloud_telephony_providers_edges_edge_group.g.id
}
resource "genesyscloud_telephony_providers_edges_phonebasesettings" "sip" {
  name               = "V1 sip base"
  phone_meta_base_id = "generic_sip.json"
}
resource "genesyscloud_telephony_providers_edges_phone" "desk" {
  name                   = "V1 desk phone"
  state                  = "active"
  site_id                = genesyscloud_telephony_providers_edges_site.s.id
  phone_base_settings_id = genesyscloud_telephony_providers_edges_phonebasesettings.sip.id
  line_properties {
    line_address = ["+13175550001", "+13175550002"]
  }
  depends_on = [genesyscloud_telephony_providers_edges_did_pool.d]
}
resource "genesyscloud_telephony_providers_edges_phone" "home" {
  name                   = "V1 home phone"
  state                  = "active"
  site_id                = genesyscloud_telephony_providers_edges_site.s.id
  phone_base_settings_id = genesyscloud_telephony_providers_edges_phonebasesettings.sip.id
  line_properties {
    remote_address = ["+13175550102"]
  }
}
# What others look up by name or number.
data "genesyscloud_telephony_providers_edges_site" "x" {
  name = genesyscloud_telephony_providers_edges_site.s.name
}
data "genesyscloud_telephony_providers_edges_edge_group" "x" {
  name = genesyscloud_telephony_providers_edges_edge_group.g.name
}
data "genesyscloud_telephony_providers_edges_trunk" "x" {
  name = genesyscloud_telephony_providers_edges_trunk.t.name
}
data "genesyscloud_telephony_providers_edges_trunkbasesettings" "x" {
  name = genesyscloud_telephony_providers_edges_trunkbasesettings.t.name
}
data "genesyscloud_telephony_providers_edges_phonebasesettings" "x" {
  name = genesyscloud_telephony_providers_edges_phonebasesettings.b.name
}
data "genesyscloud_telephony_providers_edges_phone" "x" {
  name = genesyscloud_telephony_providers_edges_phone.p.name
}
data "genesyscloud_telephony_providers_edges_did_pool" "x" {
  start_phone_number = genesyscloud_telephony_providers_edges_did_pool.d.start_phone_number
  end_phone_number   = genesyscloud_telephony_providers_edges_did_pool.d.end_phone_number
}
data "genesyscloud_telephony_providers_edges_extension_pool" "x" {
  start_number = genesyscloud_telephony_providers_edges_extension_pool.e.start_number
  end_number   = genesyscloud_telephony_providers_edges_extension_pool.e.end_number
}
data "genesyscloud_telephony_providers_edges_did" "x" {
  phone_number = "+13175550001"
  depends_on   = [genesyscloud_telephony_providers_edges_phone.desk]
}
data "genesyscloud_telephony_providers_edges_site_outbound_route" "x" {
  name    = genesyscloud_telephony_providers_edges_site_outbound_route.r.name
  site_id = genesyscloud_telephony_providers_edges_site.s.id
}
data "genesyscloud_station" "x" {
  name = genesyscloud_telephony_providers_edges_phone.p.name
}
output "found" {
  value = {
    site              = data.genesyscloud_telephony_providers_edges_site.x.id == genesyscloud_telephony_providers_edges_site.s.id
    edge_group        = data.genesyscloud_telephony_providers_edges_edge_group.x.id == genesyscloud_telephony_providers_edges_edge_group.g.id
    trunk             = data.genesyscloud_telephony_providers_edges_trunk.x.id == genesyscloud_telephony_providers_edges_trunk.t.id
    trunkbasesettings = data.genesyscloud_telephony_providers_edges_trunkbasesettings.x.id == genesyscloud_telephony_providers_edges_trunkbasesettings.t.id
    phonebasesettings = data.genesyscloud_telephony_providers_edges_phonebasesettings.x.id == genesyscloud_telephony_providers_edges_phonebasesettings.b.id
    phone             = data.genesyscloud_telephony_providers_edges_phone.x.id == genesyscloud_telephony_providers_edges_phone.p.id
    did_pool          = data.genesyscloud_telephony_providers_edges_did_pool.x.id == genesyscloud_telephony_providers_edges_did_pool.d.id
    extension_pool    = data.genesyscloud_telephony_providers_edges_extension_pool.x.id == genesyscloud_telephony_providers_edges_extension_pool.e.id
    station           = data.genesyscloud_station.x.id
    did               = data.genesyscloud_telephony_providers_edges_did.x.id
  }
}
