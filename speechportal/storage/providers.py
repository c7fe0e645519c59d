"""Providers of S3 storages: presets of regions and addresses.

NCP's addresses are those of its documentation (api.ncloud-docs.com, "Object Storage overview"); servers in
a VPC without internet access reach the Korean region by the private domain.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.db import models
from django.utils.translation import gettext_lazy as _


class Provider(models.TextChoices):
    NCP_CLASSIC = "ncp_classic", _("NAVER Cloud Platform (Classic)")
    NCP_VPC = "ncp_vpc", _("NAVER Cloud Platform (VPC)")
    AWS = "aws", _("Amazon S3")
    S3 = "s3", _("Other S3-compatible storage")


@dataclass(frozen=True)
class Site:
    """Region of a provider, and its endpoint."""

    region: str
    endpoint_url: str


_NCP = (
    Site("kr-standard", "https://kr.object.ncloudstorage.com"),
    Site("us-standard", "https://us.object.ncloudstorage.com"),
    Site("sg-standard", "https://sg.object.ncloudstorage.com"),
    Site("jp-standard", "https://jp.object.ncpstorage.com"),
    Site("de-standard", "https://de.object.ncloudstorage.com"),
)
_NCP_PRIVATE = Site("kr-standard", "https://kr.object.private.ncloudstorage.com")
_AWS_REGIONS = [
    *("ap-northeast-2", "ap-northeast-1", "ap-northeast-3", "ap-southeast-1", "ap-southeast-2", "ap-south-1"),
    *("us-east-1", "us-east-2", "us-west-1", "us-west-2", "ca-central-1", "sa-east-1"),
    *("eu-central-1", "eu-west-1", "eu-west-2", "eu-west-3", "eu-north-1", "eu-south-1"),
]

SITES: dict[Provider, tuple[Site, ...]] = {
    Provider.NCP_CLASSIC: _NCP,
    Provider.NCP_VPC: (_NCP[0], _NCP_PRIVATE, *_NCP[1:]),
    Provider.AWS: tuple(Site(region, f"https://s3.{region}.amazonaws.com") for region in _AWS_REGIONS),
    Provider.S3: (),
}

# Storages without regions still need one in the signature.
DEFAULT_REGION = "us-east-1"


def default_region(provider: Provider, endpoint_url: str) -> str:
    """Region of an endpoint, or the provider's first one."""
    sites = SITES[provider]
    known = [site.region for site in sites if site.endpoint_url == endpoint_url]
    return (known or [site.region for site in sites] or [DEFAULT_REGION])[0]


def default_endpoint(provider: Provider, region: str) -> str:
    """Endpoint of a region; ``""`` if it has to be entered."""
    if provider is Provider.AWS:  # Also regions that opened after this list was written.
        return f"https://s3.{region or SITES[provider][0].region}.amazonaws.com"
    sites = SITES[provider]
    known = [site.endpoint_url for site in sites if site.region == region]
    return (known or [site.endpoint_url for site in sites if not region] or [""])[0]


def path_style(provider: Provider) -> bool:
    """Whether the bucket's name is in the path of the URL instead of the host name."""
    return provider is not Provider.AWS
