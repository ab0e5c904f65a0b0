"""Projects: parts of an instance with keys of their own."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.access import instance_row, project_row, projects_visible
from apps.accounts.selectors import ADMIN
from apps.accounts.services.projects import project_create, project_delete, project_update
from apps.config.serializers.common import deleted, listed
from apps.config.serializers.projects import (
    ProjectCreateSerializer,
    ProjectQuery,
    ProjectSerializer,
    ProjectUpdateSerializer,
)
from apps.config.views.base import ConfigView
from apps.core.drf import query_read
from apps.core.openapi import documented

TAG = "config: projects"


class ProjectListView(ConfigView):
    @documented(
        "project_list",
        summary="The projects this key may see",
        tag=TAG,
        query=ProjectQuery,
        data=listed("ProjectPage", "projects", ProjectSerializer),
        errors=(404,),
    )
    def get(self, request: Request) -> Response:
        query = query_read(request, ProjectQuery)
        rows = projects_visible(self.caller)
        if "instance_id" in query:
            rows = rows.filter(instance=instance_row(self.caller, query["instance_id"]))
        return self.page(rows, query, key="projects", serializer_class=ProjectSerializer)

    @documented(
        "project_create",
        summary="Make a project on an instance",
        tag=TAG,
        body=ProjectCreateSerializer,
        data=ProjectSerializer,
        status=201,
        errors=(404, 409),
    )
    def post(self, request: Request) -> Response:
        given = self.read(ProjectCreateSerializer)
        instance = instance_row(self.caller, self.instance_id_of(given), level=ADMIN)
        row = project_create(
            actor=self.actor,
            instance_id=instance.instance_id,
            project_id=given.get("project_id"),
            name=given["name"],
            fields=given,
        )
        return self.answer(ProjectSerializer(row).data, status=201)


class ProjectView(ConfigView):
    @documented("project_get", summary="One project", tag=TAG, data=ProjectSerializer, errors=(404,))
    def get(self, request: Request, project_id: str) -> Response:
        return self.answer(ProjectSerializer(project_row(self.caller, project_id)).data)

    @documented(
        "project_update",
        summary="Change the fields that are sent",
        tag=TAG,
        body=ProjectUpdateSerializer,
        data=ProjectSerializer,
        errors=(404,),
    )
    def put(self, request: Request, project_id: str) -> Response:
        row = project_row(self.caller, project_id, level=ADMIN)
        given = self.read(ProjectUpdateSerializer, row=row)
        row = project_update(actor=self.actor, project_id=project_id, fields=given)
        return self.answer(ProjectSerializer(row).data)

    @documented(
        "project_delete",
        summary="Delete a project with its API keys",
        tag=TAG,
        data=deleted("ProjectDeleted", "project_id"),
        errors=(404,),
    )
    def delete(self, request: Request, project_id: str) -> Response:
        project_row(self.caller, project_id, level=ADMIN)
        project_delete(actor=self.actor, project_id=project_id)
        return self.answer({"deleted": True, "project_id": project_id})
